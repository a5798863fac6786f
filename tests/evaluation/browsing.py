# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Opens a page in headless Chromium, where there is one."""

import shutil
import subprocess

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)


def browser():
    """Return the name of a browser, or skip the test."""
    for name in BROWSERS:
        if shutil.which(name):
            return name
    pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")


def open_page(tmp_path, page, *, fragment="", screenshot=None):
    """Return the DOM after the page's script has run for ten virtual seconds."""
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    command = [
        browser(),
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1100,800",
        "--virtual-time-budget=10000",
        f"--screenshot={screenshot}" if screenshot else "--dump-dom",
        (tmp_path / "page.html").as_uri() + fragment,
    ]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode()
