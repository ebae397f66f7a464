"""Passwords: how they are kept, checked and refused. Hashing takes a good part of a second on purpose; never inside a
transaction."""

from __future__ import annotations

import threading
import unicodedata
from functools import cache
from itertools import pairwise

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 10, 128
LEAST_DISTINCT = 5
_SEQUENCES = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb",
)
_STEPS = frozenset(step for run in _SEQUENCES for way in (run, run[::-1]) for step in pairwise(way))
_COMMON = ("password", "passw0rd", "admin", "analyzer", "letmein", "welcome", "iloveyou", "woaini")

_hasher = PasswordHasher()
_at_once = threading.BoundedSemaphore(4)  # each takes 64 MiB for its time


def hash_password(password: str) -> str:
    with _at_once:
        return _hasher.hash(_normal(password))


def is_right(password_hash: str | None, password: str) -> bool:
    """Takes as long where there is no such user (None) as where there is."""
    try:
        with _at_once:
            return _hasher.verify(password_hash or _nobody_s(), _normal(password)) and password_hash is not None
    except VerificationError:
        return False
    except InvalidHashError:  # an account that nobody can log in to
        return is_right(None, password)


def is_outdated(password_hash: str) -> bool:
    """Hashed with other parameters than now; hash it anew at the next login."""
    return _hasher.check_needs_rehash(password_hash)


def weakness(password: str, *names: str) -> str | None:
    """Why this password is refused, in Chinese; None for one that is taken.

    names  the user's own, which it must not hold
    """
    plain = _normal(password).casefold()
    if not SHORTEST <= len(plain) <= LONGEST:
        return f"密码须为 {SHORTEST} 至 {LONGEST} 个字符"
    if len(set(plain)) < LEAST_DISTINCT:
        return f"密码至少要有 {LEAST_DISTINCT} 种不同的字符"
    if any(len(name) >= 3 and name.casefold() in plain for name in names):
        return "密码不能包含用户名或姓名"
    if _is_guessable(plain):
        return "密码太容易被猜到，请不要用键盘顺序、连续数字或常见词"
    return None


def _is_guessable(plain: str) -> bool:
    """Without common words and steps along the keyboard, too little is left."""
    for word in _COMMON:
        plain = plain.replace(word, "")
    kept = [after for before, after in pairwise("\0" + plain) if before != after and (before, after) not in _STEPS]
    return len(kept) < SHORTEST // 2


@cache
def _nobody_s() -> str:
    return _hasher.hash("nobody has this password")


def _normal(password: str) -> str:
    """The same password from every keyboard and input method."""
    return unicodedata.normalize("NFKC", password)
