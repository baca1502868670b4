"""The app: python app.py, then open the printed address. The same as `facemtl app`."""

import sys

from facemtl.cli import main

if __name__ == "__main__":
    sys.exit(main(["app", *sys.argv[1:]]))
