"""Paths that try to get out of the root, and what lies outside to be found."""

# ruff: noqa: E501 - tables are easier to read with many short texts to a line

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

OUTSIDE = "OUTSIDE"
LONG_AGO = 10**18
"""Nanoseconds: a time of the last access that any reading would move."""

Seen: TypeAlias = dict[str, tuple[int, int, int, int, int, bytes]]


def make_outside(root: Path) -> Path:
    """Returns a directory beside the root, to which every kind of link in the root leads."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text(OUTSIDE)
    (outside / OUTSIDE).write_text("a name that no listing may show")
    (outside / "table.csv").write_text(f"{OUTSIDE}\n1\n")
    (outside / "data.json").write_text(f'{{"{OUTSIDE}": 1}}')
    (root / "inside").mkdir()
    (root / "inside" / "file").write_text("inside")
    (root / "link").symlink_to(outside)
    (root / "relative").symlink_to("../outside")
    (root / "file-link").symlink_to(outside / "secret")
    (root / "dangling").symlink_to(outside / "new")
    (root / "loop").symlink_to("loop")
    (root / "chain1").symlink_to("chain2")
    (root / "chain2").symlink_to("link")
    (root / "inside" / "up").symlink_to("..")
    (root / "inner").symlink_to("inside")
    (root / "proc").symlink_to("/proc/self/root")
    return outside


def seen_outside(outside: Path) -> Seen:
    """Returns what can be told of everything outside: inode, size, times of change and of access, content.

    Reading the content moves the time of access, so it is set back.
    """
    told = {outside: outside.stat()}  # before anything looks into it
    told |= {path: path.stat() for path in sorted(outside.iterdir())}
    found = {
        path.name: (
            *(status.st_ino, status.st_size, status.st_nlink, status.st_mtime_ns, status.st_atime_ns),
            b"" if path is outside else path.read_bytes(),
        )
        for path, status in told.items()
    }
    set_back(outside)
    return found


def set_back(outside: Path) -> None:
    """Makes everything look as if nobody had read it for long."""
    for path in (*outside.iterdir(), outside):
        os.utime(path, ns=(LONG_AGO, path.stat().st_mtime_ns))


LINKS = (
    "link",
    "relative",
    "chain1",
    "chain2",
    "inside/up/link",
    "inner/up/relative",
    "loop",
    "proc",
    "dangling",
)
TARGETS = ("secret", "table.csv", "data.json", "new", "", ".", "deep/new", "../outside/secret")
CLIMBS = ("..", "../..", "inside/../..", "./..", "..//..", "inside/./../..", "inside/up/..", "a/b/../../..")
WRAPS = ("{}", "./{}", "{}/", ".//{}", "inside/../{}")

ODD = [
    "file-link", "inside/\0/secret", "\0", "secret\0.txt", "../outside/secret\0.md", "", "..", "...", "....//outside",
    "~/secret", "~root/.bashrc", "$HOME/secret", "${PWD}/../outside/secret", "`pwd`/../outside/secret",
    "..\\outside\\secret", "..\\/outside/secret", "\\\\server\\share\\secret", "C:\\outside\\secret", "C:../secret",
    "․․/outside/secret", "..%2foutside/secret", "%2e%2e/outside/secret", "..%252foutside", "..%c0%afoutside/secret",
    "‥/outside/secret", "．．/outside/secret", "..∕outside∕secret", "..⁄outside⁄secret", "..／outside／secret",
    "\udc80/../../outside", "\ud800", "../\u202eedistuo/secret", "..\u200b/outside/secret", "..\t/outside/secret",
    "../outside/secret\n", "\n../outside/secret", " ../outside/secret", "../outside/secret ", "../outside/secret.",
    "x" * 5000, "x" * 300, "/".join(["d"] * 2100), "../" * 1000 + "etc/passwd", "inside/" + "../" * 40 + "etc/passwd",
    "/etc/passwd", "/etc/shadow", "/dev/stdin", "/dev/fd/0", "/dev/zero", "/dev/null", "/dev/tcp/127.0.0.1/80",
    "/proc/self/environ", "/proc/1/environ", "/proc/self/mem", "/proc/self/fd/0", "/proc/self/cwd/../outside/secret",
    "/proc/thread-self/root/etc/passwd", "/sys/kernel/notes", "file:///etc/passwd", "file://../outside/secret",
    "http://127.0.0.1/", "//etc/passwd", "///etc/passwd", "/./etc/passwd", "/../etc/passwd", "-", "--help", "-rf",
    "*", "../*", "{..,inside}/secret", "[.][.]/outside/secret", "../outside/secret;id", "../outside/secret|id",
    ".taskmark", ".taskmark/history.db", "inside/.TaskMark/x", ".taſkmark/x", "./.taskmark/../.taskmark/x",
]  # fmt: skip


def corpus(root: Path, outside: Path) -> list[str]:
    """Returns more than 500 paths that try to get out, each once."""
    absolute = [
        *(str(outside), f"/proc/self/root{outside}", f"{root}/../outside", f"//{outside}", f"{root}-x", "/"),
        *(f"/proc/self/cwd/{outside}", f"/dev/fd/0/../{outside}", f"{root}x/../../outside", f"{root}/link"),
    ]
    found = [wrap.format(f"{link}/{target}") for wrap in WRAPS for link in LINKS for target in TARGETS]
    found += [f"{climb}/outside/{target}" for climb in CLIMBS for target in TARGETS]
    found += [f"{place}/{target}" for place in absolute for target in TARGETS]
    return list(dict.fromkeys((*found, *ODD)))
