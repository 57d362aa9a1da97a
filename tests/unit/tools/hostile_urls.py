"""URLs, names and redirects that lead to where no task may call."""

# ruff: noqa: E501 - tables are easier to read with many short texts to a line

from __future__ import annotations

LOOPBACK = [
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "017700000001", "0x7f000001", "0x7f.1",
    "0177.0.0.1", "0x7f.0x0.0x0.0x1", "127.0.0.1.", "localhost", "LOCALHOST", "localhost.", "LocalHost.",
    "0", "0.0.0.0", "0x0", "00000.0", "0.0", "①②⑦.⓪.⓪.①", "127。0。0。1", "ｌｏｃａｌｈｏｓｔ", "127.0.0.01",
    "0x7F.0.0.1", "127.0x0.0.1", "0177.1", "0x7f.0.1", "127.0.00000000000000001", "00000000177.0.0.1", "127.00.00.1",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:7F00:1]",
    "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
    "[2002:7f00:0001::1]", "[::ffff:0:127.0.0.1]", "[2001:0:7f00:1::]", "[::1%25lo]", "[fe80::1%25lo]", "[::ffff:0.0.0.0]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::1%251]", "[64:FF9B::7F00:0001]", "[2001:0000:4136:e378:8000:63bf:80ff:fffe]",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "loc\u00adalhost", "local\u200bhost", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "１２７.０.０.１", "127．0．0．1", "127｡0｡0｡1",
]  # fmt: skip

ELSEWHERE = [
    "10.0.0.1", "10.255.255.255", "012.1", "167772161", "172.16.0.1", "172.31.255.254", "192.168.0.1", "0xc0a80001",
    "192.168.257", "100.64.0.1", "100.127.255.255", "169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.43518",
    "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "[fc00::1]", "[fd00:ec2::254]",
    "[fe80::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[100::1]", "[5f00::1]", "0251.0376.0251.0376",
    "169。254。169。254", "[::ffff:a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[64:ff9b::192.168.0.1]", "168.63.129.16x",
    "[::ffff:10.0.0.1]", "[::10.0.0.1]", "[2002:c0a8:1::1]", "[3fff::1]", "[ff01::1]", "[fe80::a9fe:a9fe]",
]  # fmt: skip

FORMS = [
    "http://{host}:{port}/",
    "https://{host}:{port}/latest/meta-data",
    "HTTP://{host}:{port}/?u=http://example.org#x",
    "http://{host}:{port}",
]

TRICKS = [
    "http://example.org@127.0.0.1:{port}/", "http://user:pass@127.0.0.1:{port}/", "http://127.0.0.1:{port}@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/", "http://:@127.0.0.1:{port}/", "http://example.org:80@127.0.0.1:{port}/",
    "http://example.org#@127.0.0.1:{port}/", "http://example.org?@127.0.0.1:{port}/", "http://127.0.0.1:{port}#@example.org/",
    "http://127.0.0.1:{port}\\@example.org/", "http://example.org\\@127.0.0.1:{port}/", "http:\\\\127.0.0.1:{port}\\",
    "http:/\\127.0.0.1:{port}/", "http:127.0.0.1:{port}/", "http:/127.0.0.1:{port}/", "http:///127.0.0.1:{port}/",
    "http://127.0.0.1:{port}:80/", "http://127.0.0.1:+{port}/", "http://127.0.0.1: {port}/", "http://127.0.0.1:0{port}/",
    "http://127.0.0.1:0/", "http://127.0.0.1:65536/", "http://127.0.0.1:-1/", "http://127.0.0.1:{port}٠/", "http://127.0.0.1:/",
    "http://127.0.0.1%00.example.org:{port}/", "http://127.0.0.1%2eexample.org:{port}/", "http://%31%32%37.0.0.1:{port}/",
    "http://127.0.0.1%0d%0aHost:x:{port}/", "http://127.0.0.1\r\nX: y:{port}/", "http://127.0.0.1\t:{port}/", "http://127\n.0.0.1:{port}/",
    " http://127.0.0.1:{port}/", "\thttp://127.0.0.1:{port}/", "http://127.0.0.1 :{port}/", "http:// 127.0.0.1:{port}/",
    "http://[::1]:{port}\\@example.org/", "http://[::ffff:127.0.0.1]:{port}/..//..", "http://[127.0.0.1]:{port}/", "http://[localhost]:{port}/",
    "http://[::1:{port}/", "http://::1:{port}/", "http://[::1]{port}/", "http://[::1%00]:{port}/", "http://[v1.127.0.0.1]:{port}/",
    "jar:http://127.0.0.1:{port}!/", "view-source:http://127.0.0.1:{port}/", "url:http://127.0.0.1:{port}/", "feed:http://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_GET%20/", "dict://127.0.0.1:{port}/info", "ftp://127.0.0.1:{port}/", "ws://127.0.0.1:{port}/", "wss://127.0.0.1:{port}/",
    "ldap://127.0.0.1:{port}/", "tftp://127.0.0.1:{port}/x", "smb://127.0.0.1:{port}/x", "file:///etc/passwd", "file://127.0.0.1:{port}/etc/passwd",
    "data:text/plain,x", "javascript:1", "unix:///run/docker.sock", "http+unix://%2Frun%2Fdocker.sock/", "netdoc:///etc/passwd",
    "//127.0.0.1:{port}/", "127.0.0.1:{port}/", "localhost:{port}/", "http://", "http://:{port}/", "http://./", "http://.:{port}/", "http://..:{port}/",
    "http://127.0.0.1:{port}/\ud800", "http://\ud800:{port}/", "http://xn--a.xn--b:{port}/", "http://xn--:{port}/", "http://a..b:{port}/",
    "http://" + "a" * 64 + ":{port}/", "http://" + "a." * 200 + ":{port}/", "http://-:{port}/", "http://*:{port}/", "http://_:{port}/",
]  # fmt: skip


def corpus() -> list[str]:
    """Returns more than 400 URLs, with a place for the port that somebody listens on."""
    plain = [form.replace("{host}", host) for host in (*LOOPBACK, *ELSEWHERE) for form in FORMS]
    return list(dict.fromkeys((*plain, *TRICKS)))


RESOLVED = [
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.20.0.1", "192.168.178.1", "100.64.1.1", "169.254.169.254", "0.0.0.0", "::1", "::",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::1", "fe80::1", "fe80::1%lo", "fd00::1", "fec0::1",
    "2001::7f00:1", "224.0.0.1", "255.255.255.255", "192.0.0.8", "198.18.0.1", "::127.0.0.1", "64:ff9b:1::7f00:1", "ff02::1",
]  # fmt: skip
"""Addresses that a name of somebody else's may be given."""
