"""Texts that would do something if a shell, a loader or a template ever read them."""

# ruff: noqa: E501 - tables are easier to read with many short texts to a line

from __future__ import annotations

from itertools import product
from pathlib import Path

COMMANDS = ("touch {canary}", "echo x>{canary}", "cp /dev/null {canary}", ": >{canary}", "id>>{canary}")
AROUND = (
    "; {c}", ";{c};", "& {c}", "&& {c}", "| {c}", "|| {c}", "x; {c} #", "\n{c}\n", "\r\n{c}\r\n", "$({c})", "`{c}`",
    "$( {c} )", "<({c})", ">({c})", "${{x:-$({c})}}", "$(({c}))", "{{ {c}; }}", "( {c} )", "!{c}", "x' ; {c} ; '",
    'x" ; {c} ; "', "x') ; {c} ; ('", "\\'; {c}; \\'", '\\"; {c}; \\"', "'$({c})'", '"$({c})"', '"`{c}`"',
    "x\\\n; {c}", "$'\\n{c}'", "\x00x", "%0a{c}", "\\x0a{c}", "\\n{c}", "\u2028{c}", "\u037e {c}", "；{c}", "\t;\t{c}",
    "a=b {c}", "exec {c}", "eval '{c}'", "source /dev/stdin <<< '{c}'", ". <({c})", "sh -c '{c}'", "bash -c \"{c}\"",
    "env {c}", "xargs {c}", "nohup {c} &", "trap '{c}' EXIT", "coproc {c}", "time {c}", "if {c}; then :; fi",
    "while {c}; do break; done", "case x in x) {c};; esac", "f(){{ {c}; }};f", "() {{ :;}}; {c}", "() {{ _; }} >_[$($())] {{ {c}; }}",
    "<<EOF\n$({c})\nEOF", "cat<<<$({c})", "${{IFS}};${{IFS}}{c}", "$@;{c}", "$0;{c}", "$IFS&{c}", "${{PATH:0:0}}$({c})", "~;{c}",
    "*;{c}", "?(;{c})", "[;{c}]", "{{a,b}};{c}", "^x^{c}^", "!!;{c}", "#\n{c}", "--\n{c}", "-e {c}", "-c {c}",
    "--exec={c}", "-exec {c} ;", "--checkpoint-action=exec={c}", "-oProxyCommand={c}", "--upload-pack={c}", "--use-compress-program={c}",
    "x --output=/dev/null; {c}", "/bin/sh;-c;{c}", "@SHELL@{c}", "%COMSPEC% /c {c}", "cmd /c {c}", "powershell -c {c}", "&{c}&", "^&{c}",
    "__import__('os').system('{c}')", "eval(\"__import__('os').system('{c}')\")", "';import os;os.system('{c}');'", "#{{`{c}`}}",
    "<?php system('{c}'); ?>", "<%= `{c}` %>", "${{T(Runtime).exec('{c}')}}", "${{jndi:ldap://127.0.0.1/{c}}}",
    "{{{{ cycler.__init__.__globals__.os.popen('{c}') }}}}", "{{% set x = lipsum.__globals__['os'].system('{c}') %}}", "{{# {c} #}}",
    "'; DROP TABLE x; -- {c}", "=cmd|'/c {c}'!A0", "@import '{c}'", "file://`{c}`", "http://x/$({c})", "../../bin/sh -c '{c}'",
    "\x1b]0;{c}\x07", "\x1b[201~\n{c}\n", "\x03{c}", "\x04{c}", "\x1a{c}", "\x7f;{c}", "a\rb;{c}", "\ufeff;{c}", "\u202e;{c}",
)  # fmt: skip


def corpus(canary: Path) -> list[str]:
    """Returns more than 500 payloads; whichever of them acts makes the canary."""
    filled = (around.format(c=command.format(canary=canary)) for around, command in product(AROUND, COMMANDS))
    return list(dict.fromkeys(filled))


LOADED = {
    "LD_PRELOAD": "/no/such/library.so", "LD_AUDIT": "/no/such/audit.so", "LD_LIBRARY_PATH": "/no/such/libraries",
    "PYTHONSTARTUP": "{root}/start.py", "PYTHONPATH": "{root}", "PYTHONHOME": "/no/such/home", "PYTHONINSPECT": "1",
    "PYTHONWARNINGS": "error", "PYTHONBREAKPOINT": "start.main", "BASH_ENV": "{root}/start.sh", "ENV": "{root}/start.sh",
    "BASH_FUNC_cat%%": "() { touch {root}/canary; }", "PROMPT_COMMAND": "touch {root}/canary", "SHELLOPTS": "xtrace",
    "PS4": "$(touch {root}/canary)", "IFS": "/", "GCONV_PATH": "{root}", "MALLOC_CONF": "x", "LC_ALL": "no_SUCH.locale",
}  # fmt: skip
"""Variables by which one could act on a program that is started for something else."""
