"""The app: python app.py, then open the printed address. The same as `facemtl app`."""

import sys

from facemtl.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["app", *sys.argv[1:]]))
