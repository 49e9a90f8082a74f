"""Who connects: a guest, or the subject of a token; and what a request's target says."""

import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.datastructures import Headers

from comet.auth import Auth, Target
from comet.gateway import REASON_CHARS
from common.envelope import User
from common.errors import BadRequest, Forbidden, SettingError

KEY = "a key that is long enough for any HMAC: " + "k" * 64
BROKEN = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
GUESTS = Auth("", ["HS256"])
TOKENS = Auth(KEY, ["HS256"])


def token(key: str = KEY, algorithm: str = "HS256", **claims: object) -> str:
    """Return a signed token."""
    return jwt.encode(claims, key, algorithm=algorithm)


# -- targets -------------------------------------------------------------------------------------------------------


def test_a_target_is_a_path_and_parameters() -> None:
    """Decoded; an empty parameter is not a missing one; of two the first counts."""
    target = Target("/a%20b?uid=7&uid=8&name=Al%20Ice+%E2%98%83&rooms=")
    assert (target.path, target.get("uid"), target.get("name")) == ("/a b", "7", "Al Ice ☃")
    assert (target.get("rooms"), target.get("none")) == ("", None)


def test_a_target_that_is_none_is_refused() -> None:
    """It comes from anybody."""
    with pytest.raises(BadRequest) as refused:
        Target("//[")
    assert refused.value.field == "target"


@pytest.mark.parametrize(
    ("query", "rooms"),
    [
        ("", ["default"]),
        ("?rooms=", []),
        ("?rooms=a", ["a"]),
        ("?rooms=b,a,b,", ["b", "a"]),
        ("?rooms=a%2Cb", ["a", "b"]),
        ("?rooms=a,b,c", ["a", "b", "c"]),
    ],
)
def test_rooms_may_be_asked_for(query: str, rooms: list[str]) -> None:
    """Each once, in the order asked; none said means the default ones."""
    assert Target("/" + query).rooms(["default"], 3) == rooms


@pytest.mark.parametrize("rooms", ["a b", "x" * 129, "a,b,c,d"])
def test_bad_or_too_many_rooms_are_refused(rooms: str) -> None:
    """By their field."""
    with pytest.raises(BadRequest) as refused:
        Target(f"/?rooms={rooms}").rooms([], 3)
    assert refused.value.field == "rooms"


# -- guests --------------------------------------------------------------------------------------------------------


def test_a_guest_is_who_he_says() -> None:
    """Or made up, each time another; the name is the id, as much as fits, where there is none."""
    assert GUESTS.user(Target("/?uid=7&name=Alice"), Headers()) == User("7", "Alice")
    assert GUESTS.user(Target("/?uid=7&name=%20Zoe%CC%88%20"), Headers()) == User("7", "Zoë")
    assert GUESTS.user(Target("/?uid=" + "u" * 128), Headers()) == User("u" * 128, "u" * 64)
    one, two = GUESTS.user(Target("/"), Headers()), GUESTS.user(Target("/?uid=&name="), Headers())
    assert one.id != two.id
    assert one == User(one.id, one.id)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("uid=" + "x" * 129, "uid"),
        ("name=" + "x" * 65, "name"),
        ("uid=%00", "uid"),
        ("name=%0A", "name"),
        ("uid=e%CC%81", "uid"),  # NFD
        ("uid=a%E2%80%8Bb", "uid"),  # a zero width space
        ("uid=%20", "uid"),
        ("name=%20%C2%A0", "name"),  # blanks
        ("name=%E2%80%AEa", "name"),  # a bidi override
        ("name=%C2%9B31m", "name"),  # C1
    ],
)
def test_a_guest_has_limits(query: str, field: str) -> None:
    """By their field."""
    with pytest.raises(BadRequest) as refused:
        GUESTS.user(Target("/?" + query), Headers())
    assert refused.value.field == field


# -- tokens --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["query", "header"])
def test_a_token_tells_who_it_is(place: str) -> None:
    """`sub` and `name`, from ?token= or the header; what the query says of uid counts for nothing."""
    text = token(sub="7", name="Alice", exp=time.time() + 60)
    headers, query = Headers(), "/?uid=evil&name=Evil"
    if place == "header":
        headers["Authorization"] = f"Bearer {text}"
    else:
        query += f"&token={text}"
    assert TOKENS.user(Target(query), headers) == User("7", "Alice")


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"sub": "a\u200bb"}, "sub holds U+200B ZERO WIDTH SPACE at position 2"),
        ({"sub": "cafe\u0301"}, "sub is not in Unicode's form NFC: U+0065 LATIN SMALL LETTER E at position 4"),
        ({"sub": "7", "name": "a\u202eb"}, "name holds U+202E RIGHT-TO-LEFT OVERRIDE at position 2"),
        ({"sub": "7", "name": " "}, "name must be a string of 1 to 64 characters, not only blanks"),
    ],
)
def test_a_tokens_claims_are_held_to_the_rules_of_ids(claims: dict[str, str], told: str) -> None:
    """The error says which character, and fits into a close frame."""
    with pytest.raises(BadRequest) as refused:
        TOKENS.user(Target(f"/?token={token(**claims)}"), Headers())
    assert refused.value.message.startswith(told)
    assert len(refused.value.message.encode()) <= REASON_CHARS


def test_without_a_name_the_subject_is_shown() -> None:
    """As much of it as fits."""
    assert TOKENS.user(Target(f"/?token={token(sub='s' * 100)}"), Headers()) == User("s" * 100, "s" * 64)


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "a.b.c", token(name="nobody"), token(sub="7", exp=1), token(sub="7", nbf=2**40),
        token(key=KEY + "!", sub="7"), token(algorithm="HS384", sub="7"), token(key="", algorithm="none", sub="7"),
        token(sub=7),
    ],
)  # fmt: skip
def test_without_a_valid_token_nobody_comes_in(text: str) -> None:
    """Missing, broken, without a subject, expired, not yet valid, of another key or algorithm, unsigned."""
    with pytest.raises(Forbidden):
        TOKENS.user(Target(f"/?token={text}"), Headers())


@pytest.mark.parametrize(("key", "algorithm"), [("nonsense", "ES256"), ("nonsense", "RS256"), (BROKEN, "ES256")])
def test_a_key_that_fits_no_algorithm_is_named_as_a_setting(key: str, algorithm: str) -> None:
    """One line at the start, whatever the library makes of it."""
    with pytest.raises(SettingError, match=f"COMET_AUTH_KEY: no key for {algorithm}"):
        Auth(key, [algorithm])


def test_two_authorization_headers_are_no_fault_of_ours() -> None:
    """The first counts."""
    headers = Headers()
    headers["Authorization"] = "Bearer nonsense"
    headers["Authorization"] = f"Bearer {token(sub='7')}"
    with pytest.raises(Forbidden):
        TOKENS.user(Target("/"), headers)


def test_a_tokens_names_have_limits_too() -> None:
    """Whoever signed it."""
    for claims in ({"sub": "x" * 129}, {"sub": "7", "name": "x" * 65}, {"sub": "7", "name": 5}, {"sub": "a\nb"}):
        with pytest.raises(BadRequest):
            TOKENS.user(Target(f"/?token={token(**claims)}"), Headers())


def test_a_public_key_verifies_but_does_not_sign() -> None:
    """With ES256 the node needs no secret; a token that uses the public key as an HMAC secret is refused."""
    private = generate_private_key(SECP256R1())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    auth = Auth(public, ["ES256"])
    good = jwt.encode({"sub": "7"}, private, algorithm="ES256")
    assert auth.user(Target(f"/?token={good}"), Headers()) == User("7", "7")
    with pytest.raises(Forbidden):
        auth.user(Target(f"/?token={token(sub='7')}"), Headers())


def test_a_missing_token_is_named() -> None:
    """The reason says what to do, and not which part of an empty token is missing."""
    for headers in (Headers(), Headers({"Authorization": "Bearer "})):
        with pytest.raises(Forbidden, match="a token is needed"):
            TOKENS.user(Target("/?token="), headers)
    assert (GUESTS.takes_guests, TOKENS.takes_guests) == (True, False)
