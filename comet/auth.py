"""Who connects: a guest where auth is off, the subject of a JWT where it is on. Pure."""

import uuid
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from websockets.datastructures import Headers

from common import ids
from common.envelope import User
from common.errors import BadRequest, Forbidden, SettingError


class Target:
    """What a request asks for: its path and its query's parameters, the first of each name. Raises BadRequest."""

    def __init__(self, target: str) -> None:
        try:
            parts = urlsplit(target)
        except ValueError as e:
            raise BadRequest(f"the request's target is no URL: {e}", field="target") from None
        # A target may be a whole URL (RFC 9112, 3.2.2), whose path may be empty.
        self.path = "/" if parts.scheme and not parts.path else unquote(parts.path)
        self._query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}

    def get(self, name: str) -> str | None:
        """Return a parameter, or None where it is missing (an empty one is '')."""
        return self._query.get(name)

    def rooms(self, default: list[str], most: int) -> list[str]:
        """Return the rooms of `?rooms=a,b`, or the default ones where it is missing. Raises BadRequest."""
        asked = self._query.get("rooms")
        if asked is None:
            return default
        rooms = list(dict.fromkeys(ids.room_id(room, "rooms") for room in asked.split(",") if room))
        if len(rooms) > most:
            raise BadRequest(f"rooms must name at most {most} rooms", field="rooms")
        return rooms


class Auth:
    """Tells who connects."""

    def __init__(self, key: str, algorithms: list[str]) -> None:
        self._algorithms = algorithms
        self._key = key  # empty: everybody is a guest
        for name in algorithms if key else ():
            try:
                jwt.get_algorithm_by_name(name).prepare_key(key)
            except (jwt.InvalidKeyError, ValueError, TypeError) as e:  # what cryptography raises of a PEM it can't read
                raise SettingError(f"comet: bad setting COMET_AUTH_KEY: no key for {name} ({e})") from None

    @property
    def takes_guests(self) -> bool:
        """Whether a client needs no token."""
        return not self._key

    def user(self, target: Target, headers: Headers) -> User:
        """Return who connects. Raises Forbidden (no valid token) or BadRequest (an id or name past its limits)."""
        if not self._key:
            return _guest(target)
        authorization = headers.get_all("Authorization") or [""]
        token = target.get("token") or authorization[0].removeprefix("Bearer ")
        if not token:
            raise Forbidden("a token is needed, as ?token= or as Authorization: Bearer; this connection has none")
        try:
            claims = jwt.decode(token, self._key, algorithms=self._algorithms, options={"require": ["sub"]})
        except jwt.PyJWTError as e:
            raise Forbidden(f"a valid token is needed, as ?token= or as Authorization: Bearer ({e})") from None
        user_id = ids.user_id(claims["sub"], "sub")
        return User(user_id, ids.username(claims.get("name", user_id[: ids.USERNAME_CHARS]), "name"))


def _guest(target: Target) -> User:
    user_id = target.get("uid") or f"guest-{uuid.uuid4().hex[:12]}"
    name = target.get("name") or user_id[: ids.USERNAME_CHARS]
    return User(ids.user_id(user_id, "uid"), ids.username(name, "name"))
