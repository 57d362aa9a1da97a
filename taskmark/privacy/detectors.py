"""The detectors that are built in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskmark.privacy import cards, credentials, emails, networks, phones, uuids
from taskmark.privacy.detecting import Detector
from taskmark.privacy.digits import DIGITS

_ALL: Final = (
    Detector("secret", credentials.find, named=credentials.is_named),
    Detector("email", emails.find, hints=("@", "%40")),
    Detector("ipv6", networks.find_ipv6, gate=networks.COLONS),
    Detector("ipv4", networks.find_ipv4, gate=networks.DOTS),
    Detector("uuid", uuids.find, gate=uuids.HYPHENS),
    Detector("card", cards.find, gate=DIGITS),
    Detector("phone", phones.find, gate=DIGITS, named=phones.is_named),
)
BUILT_IN: Final[Mapping[str, Detector]] = {detector.name: detector for detector in _ALL}
"""By name."""
