"""How tools call by HTTP: checked, without the machine's proxies, and each call on its own."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    import httpx2

    from taskmark.tools.network import NetworkPolicy, Resolve


def checked_client(
    policy: NetworkPolicy, certificates: ssl.SSLContext | None = None, resolver: Resolve | None = None
) -> httpx2.AsyncClient:
    """Returns a client for one call: nothing is carried from one step to another. It follows no redirects,
    and how long the call may take is for who makes it to say."""
    import httpx2

    from taskmark.tools.network import CheckedTransport, resolve

    transport = CheckedTransport(policy, certificates or trusted(), resolver or resolve)
    return httpx2.AsyncClient(transport=transport, trust_env=False, timeout=None, follow_redirects=False)


@cache
def trusted() -> ssl.SSLContext:
    """Returns whom everybody trusts. Reading it takes some 20 ms, so it is kept."""
    import httpx2

    return httpx2.create_ssl_context()


def configured_place(url: str, *, allow_private: bool = True) -> NetworkPolicy:
    """Returns the policy for a URL of the settings: its host and port, wherever they are, and no other."""
    from taskmark.tools.network import NetworkPolicy

    return NetworkPolicy(allow_hosts=(host_of(url),), allow_private=allow_private)


def host_of(url: str) -> str:
    """Returns host and port of an HTTP URL, or nothing if it is none."""
    import httpx2

    from taskmark.tools.network import DEFAULT_PORTS

    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        return ""
    if parsed.scheme not in DEFAULT_PORTS or not parsed.host:
        return ""
    return f"{parsed.host}:{parsed.port or DEFAULT_PORTS[parsed.scheme]}"
