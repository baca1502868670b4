# Usage: sh tests/install_chromium.sh PYTHON
# Provide a Chromium for the browser tests: the one that is found, else Debian's package, else Playwright's.
set -eu
python=$1

found() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        # Ubuntu's chromium-browser may be a stub that only asks for a snap: see whether it starts.
        if "$name" --version >/dev/null 2>&1; then return 0; fi
    done
    "$python" - <<'PYTHON'
import os, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    sys.exit(not os.path.exists(playwright.chromium.executable_path))
PYTHON
}

debian_package() {
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" = 0 ]; then as_root=env; else as_root="sudo -n env"; fi
    $as_root true 2>/dev/null || return 1
    echo "Installing Debian's package chromium ..."
    { $as_root apt-get update && $as_root DEBIAN_FRONTEND=noninteractive apt-get install --yes chromium; } >/dev/null 2>&1
}

playwright_build() {
    echo "Downloading Playwright's Chromium ..."
    "$python" -m playwright install chromium >/dev/null
}

found || { debian_package && found; } || { playwright_build && found; } || {
    echo "No Chromium found, and none could be installed: install Chromium or Google Chrome, then run 'make test' again." >&2
    exit 1
}
