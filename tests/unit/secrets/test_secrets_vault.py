"""Named secrets come from where they are configured, and are asked for anew in time."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from starter.wiring import Wiring
from taskmark.agents.cli.provider import CliAgents
from taskmark.errors import Category, StepFailed
from taskmark.secrets.configured import secrets_in
from taskmark.secrets.sources import Command, Folder, Found, Variables
from taskmark.secrets.vault import Vault
from taskmark.settings import Settings

VALUE = "a-long-secret-value"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Changing:
    """A source that gives another value each time."""

    def __init__(self, lasts: float, clock: Clock) -> None:
        self.asked = 0
        self._lasts, self._clock = lasts, clock

    def find(self, name: str) -> Found | None:
        self.asked += 1
        return Found(f"{name}-value-{self.asked}", self._clock() + self._lasts)

    def where(self, name: str) -> str:
        return name


def folder(place: Path, mode: int = 0o600, **files: str) -> Folder:
    """Returns a folder with these secrets."""
    place.mkdir(exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)
        (place / name).chmod(mode)
    return Folder(place)


def script(text: str, *words: str) -> tuple[str, ...]:
    """Returns the words of a command that runs this Python code."""
    return (sys.executable, "-I", "-S", "-c", text, *words)


# --- sources --------------------------------------------------------------------------------------


def test_a_variable_of_the_prefix_is_a_secret() -> None:
    source = Variables("APP_", {"APP_TOKEN": VALUE, "TOKEN": "other", "APP_EMPTY": ""})
    assert source.find("TOKEN") == Found(VALUE)
    assert source.find("EMPTY") is None
    assert source.find("PATH") is None


@pytest.mark.parametrize("prefix", ["", "TASKMARK_", "TASK"])
def test_a_setting_of_ours_is_never_a_secret(prefix: str) -> None:
    kept = {"TASKMARK_ENCRYPTION_KEYS": VALUE, "TASKMARK_SECRET_A": VALUE}
    source = Variables(prefix, kept)
    assert source.find("TASKMARK_ENCRYPTION_KEYS".removeprefix(prefix)) is None
    assert source.find("TASKMARK_SECRET_A".removeprefix(prefix)) == Found(VALUE)


def test_a_file_is_a_secret_without_the_line_end_at_its_end(tmp_path: Path) -> None:
    source = folder(tmp_path / "s", TOKEN=f"{VALUE}\n", KEY="one\ntwo\n\n")
    assert source.find("TOKEN") == Found(VALUE)
    assert source.find("KEY") == Found("one\ntwo\n")
    assert source.find("OTHER") is None


def test_links_are_followed_within_the_folder_as_kubernetes_makes_them(tmp_path: Path) -> None:
    source = folder(tmp_path / "s")
    folder(tmp_path / "s" / "..2026", TOKEN=VALUE)
    (tmp_path / "s" / "..data").symlink_to("..2026")
    (tmp_path / "s" / "TOKEN").symlink_to("..data/TOKEN")
    assert source.find("TOKEN") == Found(VALUE)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "s")
    folder(tmp_path, OUTSIDE=VALUE)
    (tmp_path / "s" / "TOKEN").symlink_to("../OUTSIDE")
    with pytest.raises(StepFailed, match="leads out of its folder"):
        source.find("TOKEN")


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666])
def test_a_file_that_others_may_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(StepFailed, match="is open to others") as raised:
        folder(tmp_path / "s", mode, TOKEN=VALUE).find("TOKEN")
    assert VALUE not in str(raised.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root's files may be readable, as containers have them")
def test_a_file_of_ones_own_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="is open to others"):
        folder(tmp_path / "s", 0o644, TOKEN=VALUE).find("TOKEN")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "s", TOKEN=VALUE)
    os.chown(tmp_path / "s" / "TOKEN", 1234, 1234)
    with pytest.raises(StepFailed, match="belongs to somebody else"):
        source.find("TOKEN")


def test_what_is_no_small_text_file_is_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "s", LARGE="x" * 70_000)
    (tmp_path / "s" / "FOLDER").mkdir()
    os.mkfifo(tmp_path / "s" / "PIPE", 0o600)
    (tmp_path / "s" / "BINARY").write_bytes(b"\xff\xfe")
    (tmp_path / "s" / "BINARY").chmod(0o600)
    for name in ("LARGE", "FOLDER", "PIPE", "BINARY"):
        with pytest.raises(StepFailed):
            source.find(name)


def test_a_command_prints_a_secret_by_its_name() -> None:
    source = Command(script("import sys; print('secret of ' + sys.argv[1])", "{name}"))
    found = source.find("TOKEN")
    assert found is not None
    assert found.value == "secret of TOKEN"
    assert found.until == pytest.approx(time.time() + 300, abs=30)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({"expires_in": 100}, 90),
        ({"expires_in": 5000}, 300),
        ({"expires_at": 1_000_100}, 90),
        ({"expires_at": "1000100.0"}, 90),
        ({"expires_at": "1970-01-12T13:48:20Z"}, 90),
        ({"expires_at": "1970-01-12T14:48:20+01:00"}, 90),
        ({"expires_at": "soon"}, 0),
        ({"expires_at": 1}, 0),
        ({}, 300),
    ],
)
def test_a_command_may_say_when_its_secret_expires(told: dict[str, object], seconds: float) -> None:
    printed = json.dumps({"value": VALUE, **told})
    source = Command(script(f"print({printed!r})", "{name}"), clock=Clock())
    found = source.find("TOKEN")
    assert found is not None
    assert found.value == VALUE
    assert max(found.until - 1_000_000.0, 0) == pytest.approx(seconds)


@pytest.mark.parametrize("printed", ["{no json", '{"other": 1}', '{"value": 12}'])
def test_json_of_another_form_is_the_secret_itself(printed: str) -> None:
    found = Command(script(f"print({printed!r})", "{name}")).find("TOKEN")
    assert found is not None
    assert found.value == printed


def test_a_command_that_prints_nothing_has_no_such_secret() -> None:
    assert Command(script("pass", "{name}")).find("TOKEN") is None


def test_a_command_that_fails_or_hangs_says_nothing_of_what_it_printed() -> None:
    failing = script(
        f"import sys; print('{VALUE}'); print('{VALUE}', file=sys.stderr); sys.exit(3)", "{name}"
    )
    with pytest.raises(StepFailed, match="exit code 3") as raised:
        Command(failing).find("TOKEN")
    assert VALUE not in f"{raised.value} {raised.value.hint}"
    began = time.monotonic()
    with pytest.raises(StepFailed, match=r"did not answer for TOKEN within 0\.2 s") as raised:
        Command(script("import time; time.sleep(60)", "{name}"), timeout=0.2).find("TOKEN")
    assert raised.value.category is Category.TRANSIENT
    assert time.monotonic() - began < 10
    with pytest.raises(StepFailed, match="does not start"):
        Command(("/no/such/program", "{name}")).find("TOKEN")


# --- vault ----------------------------------------------------------------------------------------


def test_the_first_source_that_has_a_secret_counts(tmp_path: Path) -> None:
    vault = Vault(
        [Variables("", {"A": "of a variable"}), folder(tmp_path / "s", A="of a file", B="only here")]
    )
    assert (vault.get("A"), vault.get("B")) == ("of a variable", "only here")


def test_what_was_found_is_masked() -> None:
    vault = Vault([Variables("", {"A": VALUE})])
    vault.get("A")
    assert vault.masks.text(f"it is {VALUE}") == "it is [secret A]"


def test_a_secret_that_is_nowhere_fails_with_where_to_put_it(tmp_path: Path) -> None:
    vault = Vault([Variables("P_", {}), Folder(tmp_path)])
    with pytest.raises(StepFailed, match="there is no secret TOKEN here") as raised:
        vault.get("TOKEN")
    assert raised.value.category is Category.CONFIGURATION
    assert "P_TOKEN" in str(raised.value.hint)
    assert str(tmp_path / "TOKEN") in str(raised.value.hint)


@pytest.mark.parametrize("name", ["../etc/passwd", "a/b", "-x", "a b", "", "a\n", "é", "x" * 200, "."])
def test_a_name_that_is_none_reaches_no_source(name: str) -> None:
    source = Changing(60, Clock())
    with pytest.raises(StepFailed, match="names no secret"):
        Vault([source]).get(name)
    assert source.asked == 0


def test_a_secret_too_short_to_be_hidden_is_refused() -> None:
    with pytest.raises(StepFailed, match="fewer than 4 characters") as raised:
        Vault([Variables("", {"PIN": "123"})]).get("PIN")
    assert "123" not in str(raised.value)


@pytest.mark.semantics("Z4")
def test_a_secret_is_used_again_until_it_expires_and_asked_for_anew_then() -> None:
    clock = Clock()
    source = Changing(100, clock)
    vault = Vault([source], clock=clock)
    assert [vault.get("A"), vault.get("A")] == ["A-value-1", "A-value-1"]
    clock.now += 101
    assert vault.get("A") == "A-value-2"
    assert vault.get("A", fresh=True) == "A-value-3"
    assert source.asked == 3


def test_a_project_may_use_what_its_patterns_fit_and_nothing_else() -> None:
    known = {"SHOP_KEY": VALUE, "MAIL": VALUE, "OTHER": VALUE}
    vault = Vault([Variables("", known)], projects={"shop": ["SHOP_*"], "*": ["MAIL"]})
    assert vault.get("SHOP_KEY", project="shop") == VALUE
    assert vault.get("MAIL", project="any") == vault.get("MAIL") == VALUE
    for name, project in (("OTHER", "shop"), ("SHOP_KEY", "else"), ("SHOP_KEY", None)):
        with pytest.raises(StepFailed, match="may not use the secret") as raised:
            vault.get(name, project=project)
        assert raised.value.category is Category.PERMISSION


def test_learning_masks_what_is_there_and_asks_seldom_for_what_is_not() -> None:
    asked: list[str] = []

    class Lacking:
        def find(self, name: str) -> Found | None:
            asked.append(name)
            return Found(VALUE) if name == "A" else None

        def where(self, name: str) -> str:
            return name

    vault = Vault([Lacking()])
    vault.learn(["A", "B"])
    vault.learn(["B"])
    assert asked == ["A", "B"]
    assert vault.masks.text(VALUE) == "[secret A]"
    assert [error.message for error in vault.missing(["A", "B"])] == ["there is no secret B here"]


def test_who_does_not_answer_is_waited_for_once_and_not_for_each_secret() -> None:
    asked: list[str] = []

    class Down:
        def find(self, name: str) -> Found | None:
            asked.append(name)
            raise StepFailed("it does not answer")

        def where(self, name: str) -> str:
            return name

    vault = Vault([Down()])
    vault.learn(["A", "B", "C"])
    vault.learn(["A", "B", "C"])
    assert asked == ["A"]
    with pytest.raises(StepFailed, match="does not answer"):
        vault.get("B")  # who needs it asks


# --- settings -------------------------------------------------------------------------------------


def test_what_settings_keep_secret_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        database_url="postgresql://me:data%20base@db/x",
        smtp_url="smtp://me:mail-password@mail",
        sql_databases={"shop": "postgresql://me:shop-password@db/shop"},
        webhooks={
            "billing": {"url": "https://x.example/hook?key=0123456789abcdef", "secret": "whsec_c2VjcmV0"}
        },
        chat_channels={
            "team": "slack://hooks.slack.com/services/T0/B0/abcdefghijklmnopqrstuvwx",
            "bot": "telegram://123:bot-token@api.telegram.org/-100",
        },
        search_provider="brave://brave-key",
        mcp_servers={"m": {"command": "m", "env": {"API_KEY": "${MCP_KEY}"}}},
        encryption_keys="k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        codec_token="codec-token",
    )
    found = set(secrets_in(settings, {"MCP_KEY": "mcp-secret", "TEMPORAL_API_KEY": "cloud-key"}))
    assert found >= {
        *("data base", "mail-password", "shop-password", "0123456789abcdef", "whsec_c2VjcmV0", "c2VjcmV0"),
        *("abcdefghijklmnopqrstuvwx", "123:bot-token", "brave-key", "mcp-secret", "cloud-key", "codec-token"),
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    }
    assert not found & {"T0", "services", "hook", "shop"}


def test_keys_of_language_models_are_known() -> None:
    settings = Settings(
        providers={"local": {"baseUrl": "http://127.0.0.1/v1", "keys": ["FIRST", "SECOND", "ABSENT"]}}
    )
    keys = {"FIRST": "first-key-of-local", "SECOND": "second-key-of-local"}
    built_in = {"ANTHROPIC_API_KEY": "sk-ant-of-the-tests", "OPENAI_API_KEY": "ollama"}
    found = set(secrets_in(settings, {**keys, **built_in, "OTHER_KEY": "nobody-is-given-it"}))
    assert found >= {"first-key-of-local", "second-key-of-local", "sk-ant-of-the-tests"}
    assert not found & {"ollama", "nobody-is-given-it"}


SECRET_VARIABLES = {
    "OPENAI_API_KEY_2": "second-key-of-two",
    "CLAUDE_CODE_OAUTH_TOKEN": "oauth-token-of-tests",
    "DB_PASSWORD": "correcthorse",
    "LOGIN": "ghp_0123456789abcdefghijABCDEFGHIJ012345",  # by its form
}
OTHER_VARIABLES = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "ANTHROPIC_MODEL": "claude-sonnet-5-5",
    "ANTHROPIC_BASE_URL": "https://models.example.com/v1",
    "TOKEN_URL": "https://login.example.com/oauth/token",
    "ANTHROPIC_AUTH_TOKEN": "ollama",
    "MAX_OUTPUT_TOKENS": "32000000",
}


def test_variables_that_programs_are_given_are_known_if_they_hold_secrets(tmp_path: Path) -> None:
    names = [*SECRET_VARIABLES, *OTHER_VARIABLES, "GOOGLE_CREDENTIALS", "HTTPS_PROXY"]
    settings = Settings(cli_agents={"claude": {"env": names}})
    file = tmp_path / "credentials.json"
    file.touch()
    more = {
        "GOOGLE_CREDENTIALS": str(file),
        "HTTPS_PROXY": "http://me:proxy-password@proxy.example.com:3128",
        "NOT_GIVEN_TOKEN": "nobody-is-given-it",
    }
    found = set(secrets_in(settings, {**SECRET_VARIABLES, **OTHER_VARIABLES, **more})) - {""}
    assert found == {*SECRET_VARIABLES.values(), "proxy-password"}


def test_a_variable_that_has_changed_is_masked_as_soon_as_an_agent_is_given_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "the-first-key")
    monkeypatch.setenv("GIVEN_TOKEN", "the-first-token")
    wiring = Wiring(Settings(cli_agents={"claude": {"env": ["GIVEN_TOKEN"]}}))
    registry, masks = wiring.registry, wiring.masks
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another-key")
    monkeypatch.setenv("GIVEN_TOKEN", "another-token")
    assert registry.provider("anthropic").health("anthropic:claude").healthy
    program = registry.provider("cli")
    assert isinstance(program, CliAgents)
    assert program.variable("GIVEN_TOKEN") == "another-token"
    told = "the-first-key the-first-token another-key another-token"
    assert masks.text(told) == "[secret] [secret] [secret] [secret]"


def test_credentials_of_settings_that_have_changed_are_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taskmark.toml").write_text('smtp_url = "smtp://me:the-first-password@mail"\n')
    wiring = Wiring(Settings())
    masks = wiring.masks
    (tmp_path / "taskmark.toml").write_text('smtp_url = "smtp://me:another-password@mail"\n')
    wiring.renew_credentials()
    assert masks.text("the-first-password another-password") == "[secret] [secret]"


def test_keys_in_a_file_are_known_too(tmp_path: Path) -> None:
    (tmp_path / "keys").touch(0o600)
    (tmp_path / "keys").write_text("k1:MDEyMzQ1Njc4OWFi\nk0:YWJjZGVmZ2hpamts\n")
    found = set(secrets_in(Settings(encryption_keys_file=tmp_path / "keys"), {}))
    assert found >= {"MDEyMzQ1Njc4OWFi", "YWJjZGVmZ2hpamts"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [("pass show", "no list of words"), ('["pass", "show"]', "{name}"), ('["{name}"]', "{name}")],
)
def test_a_command_without_a_place_for_the_name_is_refused(words: str, problem: str) -> None:
    from taskmark.errors import InvalidSettings

    with pytest.raises(InvalidSettings, match=problem.replace("{", "\\{")):
        Settings(secrets_command=words)
