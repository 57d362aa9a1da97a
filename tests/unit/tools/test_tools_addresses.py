import pytest

from taskmark.tools.addresses import Reach, reach

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.128.0.1",
    "172.32.0.1",
    "2606:4700::1111",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
]
PRIVATE += ["::1", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1"]
FORBIDDEN = ["0.0.0.0", "0.1.2.3", "169.254.169.254", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1"]
FORBIDDEN += ["198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"]
FORBIDDEN += [
    "::",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2002:7f00:1::",
    "2002:808:808::",
]
FORBIDDEN += [
    "2001::1",
    "2001:db8::1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "5f00::1",
    "3fff::1",
    "64:ff9b::a9fe:a9fe",
]
FORBIDDEN += ["::ffff:0:127.0.0.1", "::ffff:169.254.169.254", "4000::1"]


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        *((address, Reach.PUBLIC) for address in PUBLIC),
        *((address, Reach.PRIVATE) for address in PRIVATE),
        *((address, Reach.FORBIDDEN) for address in FORBIDDEN),
    ],
)
def test_each_address_has_its_reach(address: str, whose: Reach) -> None:
    """Also where it hides in another one."""
    assert reach(address) is whose


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        reach("localhost")
