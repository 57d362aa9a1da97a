"""Nothing of a secret is anywhere after a run, nor of a task's texts in Temporal where that is encrypted.

Real server, worker and store; then every byte that they left is searched.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from acceptance_place import PATIENCE, PLUGINS, Place, eventually, polls

from starter.backfill import backfill
from starter.beats import Beats
from starter.embedded.binary import look
from starter.embedded.ports import any_free
from starter.gateway import TaskClient
from starter.replaying import of_executions, replayed
from taskmark.contracts import Progress, TaskResult
from taskmark.store.memory import MemoryRecorder
from taskmark.task.secret_references import placeholder

SECRETS = {f"S{number:02}": f"mk{number:02}-{os.urandom(9).hex()}" for number in range(1, 31)}
SECRETS |= {
    "S06": f'quo"ted\\{os.urandom(6).hex()}/ü',
    "S16": str(int.from_bytes(os.urandom(6), "big") + 10**15),
    "S28": "\n".join(("-----BEGIN-----", os.urandom(12).hex(), os.urandom(12).hex(), "-----END-----")),
}
WEBHOOK_SECRET = base64.b64encode(os.urandom(32)).decode()


class Echo(BaseHTTPRequestHandler):
    """Answers with everything that it was sent; below `/bad` it refuses it, too."""

    def do_POST(self) -> None:  # the base class names it
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = json.dumps({"headers": dict(self.headers), "body": body.decode()}).encode()
        self.send_response(422 if self.path.startswith("/bad") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
        received.append(self.path + said.decode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


received: list[str] = []


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """Where everything is told back."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def forms(marker: str) -> list[bytes]:
    """Returns what to look for: the marker, escaped, quoted, in Base64 at every position, and parts of it."""
    raw = marker.encode()
    found = [raw, raw.hex().encode(), quote(marker, safe="").encode(), json.dumps(marker)[1:-1].encode()]
    found += [raw[: len(raw) * 2 // 3], raw[len(raw) // 3 :]]
    for before in range(3):
        found.append(base64.b64encode(b"x" * before + raw)[4:-4])
    return [*found, *(line.encode() for line in marker.splitlines() if len(line) > 16)]


Contents = dict[str, bytes]
"""What is in files, by their paths."""


def is_in(marker: str, content: bytes) -> bool:
    """Whether a marker stands somewhere, in whatever form."""
    return any(form in content for form in forms(marker))


def places_of(marker: str, contents: Contents) -> set[str]:
    """Returns the files in which a marker is."""
    return {name for name, content in contents.items() if is_in(marker, content)}


def left_by(place: Place, pattern: str = "**/*", but: str = "") -> Contents:
    """Returns what is in every file that server, worker and store have left, and what commands said."""
    found: Contents = {}
    for file in sorted(place.folder.glob(pattern)):
        with suppress(FileNotFoundError):  # gone meanwhile
            if file.is_file() and file.name != but:
                found[str(file.relative_to(place.folder))] = file.read_bytes()
    return found


def prepared(place: Place) -> Place:
    """Gives a place the careless tools."""
    shutil.copy(PLUGINS / "acceptance_secrets.py", place.root)
    (place.root / "agents" / "parrot.md").write_text(
        "---\nname: parrot\nmodel: repeating:x\n---\nYou are AGENTTEXT.\n"
    )
    return place


MANY = """# Markers

```yaml
secrets: [{names}]
requirements: {{hostile: string}}
notify:
  - on: [completed_with_errors, waiting]
    tool: http
    with:
      method: POST
      url: "{echo}/notice"
      headers: {{X: "{{{{ secrets.S23 }}}}"}}
      body: "{{{{ event.message }}}}"
```

## Phase: Calls
### Steps
- tool: http - It is told back
  id: told
  with: {{method: POST, url: "{echo}/1", headers: {{Authorization: "Bearer {{{{ secrets.S01 }}}}"}}}}
- tool: http - It is refused and told back
  critical: false
  with: {{method: POST, url: "{echo}/bad", body: "{{{{ secrets.S02 }}}}"}}
- tool: shell - Standard output
  id: printed
  with: {{command: [sh, -c, "echo $A; echo $A >&2"], env: {{A: "{{{{ secrets.S03 }}}}"}}}}
- tool: shell - Base64
  with: {{command: [base64, -w0], stdin: "me:{{{{ secrets.S04 }}}}:you"}}
- tool: shell - It fails, twice
  critical: false
  retry: {{maxAttempts: 2, backoffMs: 1}}
  with: {{command: [sh, -c, "echo $0 >&2; exit 3", "{{{{ secrets.S05 }}}}"]}}
- tool: shell - Quoted
  with:
    command: [python3, -c, "import json, sys; print(json.dumps(sys.argv), sys.argv)", "{{{{ secrets.S06 }}}}"]
- tool: python - It is returned
  with: {{function: "carefree:same", args: ["{{{{ secrets.S07 }}}}"]}}
- tool: python - It is raised
  critical: false
  retry: {{maxAttempts: 1}}
  with: {{function: "carefree:broken", args: ["{{{{ secrets.S08 }}}}"]}}
- tool: python - It is printed
  with: {{function: "carefree:printed", args: ["{{{{ secrets.S09 }}}}"]}}
- tool: careless - Too large for history
  id: large
  with: {{text: "{{{{ secrets.S10 }}}}", how: large}}
- tool: careless - Kept in a heartbeat
  with: {{name: S11, how: heartbeat}}
- tool: careless - Said
  heartbeat: 1s
  with: {{name: S12, how: say}}
- tool: careless - Logged
  with: {{name: S13, how: log}}
- tool: careless - Raised with its cause
  critical: false
  retry: {{maxAttempts: 2, backoffMs: 1}}
  with: {{name: S14, how: raise}}
- tool: careless - As a key
  with: {{text: "{{{{ secrets.S15 }}}}"}}
- tool: careless - As a number
  with: {{name: S16, how: number}}
- tool: shell - In hex
  with: {{command: [sh, -c, "printf %s $0 | od -An -tx1 | tr -d ' \\\\n'", "{{{{ secrets.S17 }}}}"]}}
- tool: python - In a URL
  with: {{function: "carefree:quoted", args: ["a/{{{{ secrets.S18 }}}}?&"]}}
- tool: shell - In two pieces
  heartbeat: 1s
  with:
    command:
      - sh
      - -c
      - printf %.12s $0; sleep 0.6; printf %s ${{0#????????????}}; sleep 0.6; echo
      - "{{{{ secrets.S19 }}}}"
- tool: write-file - It is wanted there
  with: {{path: wanted.txt, content: "{{{{ secrets.S20 }}}}"}}
- tool: read-file - And read again
  with: {{path: wanted.txt}}
- tool: careless - Kept for others
  cache: 1 hour
  with: {{text: "{{{{ secrets.S21 }}}}"}}
- tool: webhook - Told to another system, which answers with it
  with: {{endpoint: echo, payload: {{a: "{{{{ secrets.S22 }}}}"}}, allowSecrets: true}}
- tool: careless - Its fallback has it
  retry: {{maxAttempts: 1}}
  with: {{how: raise, text: nothing}}
  fallback: {{tool: careless, with: {{text: "{{{{ secrets.S24 }}}}"}}}}
- tool: careless - For each
  forEach: [1, 2]
  with: {{text: "{{{{ item }}}} {{{{ secrets.S25 }}}}"}}
- shout: loud - A registered kind
  with: {{text: "{{{{ secrets.S26 }}}}"}}
- tool: shell - Several lines
  with:
    command: [sh, -c, 'echo "$0" | while read line; do echo "[$line]"; done', "{{{{ secrets.S28 }}}}"]
- tool: careless - Refused, and asked for anew
  id: refused
  critical: false
  with: {{text: "{{{{ secrets.S30 }}}}", how: permission}}
- tool: careless - What looks like a reference is none
  id: hostile
  with: {{text: "{{{{ inputs.hostile }}}} {{{{ steps.told.output.status }}}}"}}
### Outputs
- printed: steps.printed.output.stdout
- hostile: steps.hostile.output.text

## Phase: People
dependsOn: [Calls]
### Steps
- agent: parrot - What is {{{{ phases.calls.outputs.printed }}}}?
- approval: release - Release {{{{ phases.calls.outputs.printed }}}}?
  timeout: 1 hour
- question: region - Where to with {{{{ phases.calls.outputs.printed }}}}?
  timeout: 1 hour

## Outputs
- printed: phases.calls.outputs.printed
- hostile: phases.calls.outputs.hostile
"""
CAREFREE = """import urllib.parse
def same(text): return {"same": text}
def broken(text): raise ValueError(text)
def printed(text): print("it is", text)
def quoted(text): return urllib.parse.quote(text, safe="")
"""
HELD = """# Held

```yaml
secrets: [S27, S29]
```

## Phase: Hold
### Steps
- tool: careless - It is said first
  with: {name: S29, how: say}
  heartbeat: 1s
- tool: careless - It is held until somebody ends it
  id: hold
  heartbeat: 1s
  with: {text: "{{ secrets.S27 }}", how: hold}
"""


async def until(client: TaskClient, execution: str, test: Callable[[Progress], object]) -> None:
    """Returns once the progress is so."""
    end = time.monotonic() + PATIENCE
    while not test(progress := await client.progress(execution)):
        assert time.monotonic() < end, progress.model_dump_json(indent=1)
        assert not progress.status.is_final, progress.model_dump_json(indent=1)
        await asyncio.sleep(0.05)


async def decided(client: TaskClient, execution: str) -> TaskResult:
    """Decides at the gates and returns the result."""
    await until(client, execution, lambda told: [one.name for one in told.waiting] == ["release"])
    await client.approve(execution, "release", by="me", comment="COMMENTTEXT")
    await until(client, execution, lambda told: [one.name for one in told.waiting] == ["region"])
    await client.answer(execution, "region", "ANSWERTEXT", by="me")
    return await client.wait(execution, timeout=PATIENCE)


async def beats_of(client: TaskClient, execution: str) -> Beats:
    """Returns what the running steps say."""
    return await client.beats(await client.progress(execution))


async def held(client: TaskClient, execution: str) -> None:
    """Waits until the step holds, then ends the task."""

    end = time.monotonic() + PATIENCE
    while not any("holding" in beat.said for beat in (await beats_of(client, execution)).values()):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    await client.pause(execution, reason="PAUSETEXT", by="me")
    await client.resume(execution, reason="RESUMETEXT")
    await client.abort(execution, reason="ABORTTEXT", by="me")
    await client.wait(execution, timeout=PATIENCE)


UNTOLD = {"S23"}
"""A notification is given it, of whose answer nothing is kept."""


@pytest.mark.semantics("Z1")
async def test_nothing_of_thirty_secrets_is_left_anywhere_after_a_run(
    make_place: Callable[..., Place], echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = prepared(
        make_place(
            http_allow_private="true",
            plugins="acceptance_effects,acceptance_secrets",
            webhooks=json.dumps({"echo": {"url": f"{echo}/hook", "secret": f"whsec_{WEBHOOK_SECRET}"}}),
            scrub="none",
        )
    )
    for name, value in SECRETS.items():
        if name != "S30":
            monkeypatch.setenv(f"TASKMARK_SECRET_{name}", value)
    (place.root / "carefree.py").write_text(CAREFREE)
    rotating = place.folder.parent / "rotating.py"
    rotating.write_text(
        f"import json, sys, os, time\nif sys.argv[1] == 'S30': print(json.dumps({{'value':"
        f" {SECRETS['S30']!r} + '-' + str(time.time_ns()), 'expires_in': 3600}}))"
    )
    monkeypatch.setenv("TASKMARK_SECRETS_COMMAND", json.dumps(["python3", str(rotating), "{name}"]))
    hostile = "[secret S01] {{ secrets.S01 }} secret://S01"
    async with TaskClient.open(place.settings, worker=False) as client:
        worker = place.command("worker", "--debug")
        await polls(client, worker)
        source = MANY.format(names=", ".join(SECRETS), echo=echo)
        execution = await client.start(source=source, inputs={"hostile": hostile})
        result = await decided(client, execution)
        assert result.status == "completed_with_errors", result
        assert result.outputs == {"printed": "[secret S03]\n", "hostile": f"{hostile} 200"}
        assert result.steps["refused"].attempts == 2, "once more, with credentials asked for anew"
        await held(client, await client.start(source=HELD))
        worker.terminate()
        worker.wait(60)
        files = left_by(place, but="wanted.txt")
    sent = "".join(received)
    for name in ("S01", "S02", "S22", "S23"):
        assert SECRETS[name] in sent, f"{name} has reached whom it was for"
    assert SECRETS["S20"] in (place.root / "wanted.txt").read_text()
    found = {name: where for name, value in SECRETS.items() if (where := places_of(value, files))}
    assert not found
    assert not places_of(WEBHOOK_SECRET, files)
    # Without this, a search that finds nothing would prove nothing.
    assert _kinds(places_of("[secret S03]", files)) >= {"temporal.db", "taskmark.db", "command-0.err"}
    assert _kinds(places_of("ANSWERTEXT", files)) >= {"temporal.db", "taskmark.db"}
    stored = b"".join(content for name, content in files.items() if "taskmark.db" in name)
    told = {name for name in SECRETS if placeholder(name).encode() in stored}
    assert told == set(SECRETS) - UNTOLD
    for name in ("S09", "S13"):
        assert placeholder(name).encode() in files["command-0.err"], "it was logged, masked"
    assert any(b"[secret S10]" in content for name, content in files.items() if "artifacts" in name)


def _kinds(names: set[str]) -> set[str]:
    """Returns the files' names, with a log of writes counted as its database."""
    return {name.rpartition("/")[2].removesuffix("-wal") for name in names}


TEXTS = """# TITLETEXT

```yaml
name: Words
description: DESCRIPTIONTEXT
requirements: {{file: string}}
notify:
  - on: [waiting, completed]
    tool: http
    with: {{method: POST, url: "{echo}/NOTICETEXT", body: "NOTICEBODY {{{{ event.message }}}}"}}
```

## Phase: Calls
checkpoint: point
### Steps
- tool: shell - STEPTEXT
  id: printed
  with:
    command: [sh, -c, "echo OUTPUTTEXT $0; echo ERRORTEXT >&2", "{{{{ inputs.file }}}}"]
    env: {{A: ENVTEXT}}
- tool: careless - HEARTTEXT
  with: {{text: BEATTEXT, how: heartbeat}}
- tool: careless - Says
  heartbeat: 1s
  with: {{text: SAIDTEXT, how: say}}
- tool: careless - Fails twice
  critical: false
  retry: {{maxAttempts: 2, backoffMs: 1}}
  with: {{text: RAISEDTEXT, how: raise}}
- tool: careless - Too large
  id: large
  with: {{text: ARTIFACTTEXT, how: large}}
- tool: write-file - Writes
  id: wrote
  with: {{path: written.txt, content: FILETEXT}}
- validation: inputs.file != "VALIDTEXT" - REASONTEXT
- aggregate: count - AGGREGATETEXT
- wait: 10ms - TIMERTEXT
### Outputs
- printed: steps.printed.output.stdout

## Phase: People
dependsOn: [Calls]
### Steps
- agent: parrot - ASKEDTEXT {{{{ phases.calls.outputs.printed }}}}?
- approval: release - PROMPTTEXT
  timeout: 1 hour
- question: region - QUESTIONTEXT
  timeout: 1 hour

## Phase: Fail
dependsOn: [People]
### Steps
- validation: 1 > 2 - FAILEDTEXT

## Outputs
- printed: phases.calls.outputs.printed
"""
MARKERS = set(
    """
    TITLETEXT DESCRIPTIONTEXT NOTICETEXT NOTICEBODY STEPTEXT OUTPUTTEXT ERRORTEXT ENVTEXT INPUTTEXT HEARTTEXT
    BEATTEXT SAIDTEXT RAISEDTEXT ARTIFACTTEXT FILETEXT VALIDTEXT REASONTEXT AGGREGATETEXT TIMERTEXT ASKEDTEXT
    AGENTTEXT PROMPTTEXT QUESTIONTEXT COMMENTTEXT ANSWERTEXT FAILEDTEXT PAUSETEXT RESUMETEXT ABORTTEXT
    HOLDTEXT KEYTEXT SCHEDULEDTEXT NOTETEXT
    """.split()  # noqa: SIM905 - thirty lines of a list say no more
)


@pytest.mark.semantics("Z5")
@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
async def test_temporal_keeps_no_text_of_a_task_where_it_is_encrypted(
    make_place: Callable[..., Place], echo: str, encrypted: bool
) -> None:
    keys = f"old:{base64.b64encode(b'o' * 32).decode()}"
    given = {"encryption_keys": keys, "codec_port": str(any_free())} if encrypted else {}
    place = prepared(
        make_place(http_allow_private="true", plugins="acceptance_effects,acceptance_secrets", **given)
    )
    async with TaskClient.open(place.settings, worker=False) as client:
        worker = place.command("worker")
        await polls(client, worker)
        source = TEXTS.format(echo=echo)
        execution = await client.start(source=source, inputs={"file": "INPUTTEXT"}, key="KEYTEXT")
        result = await decided(client, execution)
        assert (result.status, result.error and result.error.message) == ("failed", "FAILEDTEXT")
        await held(client, await client.start(source=_without_secrets(HELD)))
        place.task("later", TEXTS.format(echo=echo))
        await client.schedules.set("later", cron="0 6 1 1 *", inputs={"file": "SCHEDULEDTEXT"})
        await client.schedules.pause("later", "NOTETEXT")
        shown = shown_by_temporal(place, client, execution)
        if encrypted:
            await _is_readable_by_the_codec(place, client, execution)
            await _is_readable_by_us(place, client, execution)
        worker.terminate()
        worker.wait(60)
        temporal, store = left_by(place, "state/temporal.db*"), left_by(place, "state/taskmark.db*")
    found = {marker for marker in MARKERS if places_of(marker, temporal)}
    assert found == (set() if encrypted else MARKERS)
    assert is_in("INPUTTEXT", shown) is not encrypted
    assert places_of("OUTPUTTEXT", store), "whoever may read the store reads texts"


async def _is_readable_by_the_codec(place: Place, client: TaskClient, execution: str) -> None:
    codec = place.command("codec")
    url = f"http://127.0.0.1:{place.settings.codec_port}"
    await asyncio.to_thread(eventually, lambda: url in place.said(codec))
    shown = await asyncio.to_thread(shown_by_temporal, place, client, execution, "--codec-endpoint", url)
    for marker in ("INPUTTEXT", "STEPTEXT", "FAILEDTEXT", "COMMENTTEXT"):
        assert is_in(marker, shown)
    codec.terminate()
    assert codec.wait(PATIENCE) == 0


async def _is_readable_by_us(place: Place, client: TaskClient, execution: str) -> None:
    """Whatever reads histories: replays, backfill, another run that goes on from there."""
    told = (await replayed(of_executions(client.client, [execution])))[execution]
    assert (told.affected, told.histories) == (False, 4)
    kept = MemoryRecorder()
    done = await backfill(client.client, kept, only=[execution])
    assert done.problems == []
    assert "OUTPUTTEXT INPUTTEXT" in repr(kept.attempts(execution))
    again = await client.retry_from(execution)
    assert (await client.wait(again, timeout=PATIENCE)).status == "failed"
    (printed,) = [step for step in (await client.progress(again)).phases[0].steps if step.id == "printed"]
    assert printed.reused == execution


def _without_secrets(text: str) -> str:
    text = text.replace("secrets: [S27, S29]", "version: '1'").replace('"{{ secrets.S27 }}"', "HOLDTEXT")
    return text.replace("name: S29", "text: HOLDTEXT")


def shown_by_temporal(place: Place, client: TaskClient, execution: str, *more: str) -> bytes:
    """Returns what `temporal workflow show` tells of an execution."""
    found, _ = look(place.settings)
    assert found is not None
    address = client.client.service_client.config.target_host
    words = ["workflow", "show", "--workflow-id", execution, "--address", address, "-o", "json", *more]
    return subprocess.run([str(found.path), *words], capture_output=True, timeout=60, check=True).stdout
