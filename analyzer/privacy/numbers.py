"""Which digits are a person's: telephone numbers by their numbering plan, ID cards and bank cards by their checksums.

Where somebody has just asked for such a number or named it (``Cue``), one that fails its checksum or lacks a digit is
believed too: the recogniser misheard a digit, and the rest still says who it is.
"""

from __future__ import annotations

import re
from datetime import date
from enum import Flag, StrEnum, auto


class Kind(StrEnum):
    MOBILE = "mobile"
    LANDLINE = "landline"
    ID_CARD = "id_card"
    BANK_CARD = "bank_card"
    PLATE = "plate"
    EMAIL = "email"
    HOUSE_NUMBER = "house_number"


class Cue(Flag):
    """What the words before a number say that it is."""

    NONE = 0
    PHONE = auto()
    HOME_PHONE = auto()
    ID_CARD = auto()
    BANK_CARD = auto()
    CODE = auto()  # an order, a ticket, a verification code: no person's
    COMPANY = auto()  # the telephone of a firm or an office


LONGEST = 21  # digits: 0086 and a mobile number are 15, a bank card 19, and one or two misheard

_MOBILE = re.compile(r"(?:(?:00)?86)?1[3-9]\d{9}")
_LANDLINE = re.compile(r"(?:(?:00)?86)?(?:(?:010|02[0-57-9])[2-8]\d{7}|0[3-9]\d{2}[2-8]\d{6,7})")
_LOCAL = re.compile(r"[2-8]\d{6,7}")
_PROVINCES = frozenset(
    map(
        str,
        (*range(11, 16), 21, 22, 23, *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83),
    )
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
_CHECK_DIGITS = "10X98765432"
_CARD = re.compile(r"62\d{14,17}|9558\d{15}|4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|35\d{14}|3[47]\d{13}|6[0589]\d{14,17}")


def kind_of(digits: str, cue: Cue) -> Kind | None:
    """What an identifier ``digits`` (0-9, X) is; None for anything else."""
    if is_id_card(digits) or (Cue.ID_CARD in cue and _is_nearly_id_card(digits)):
        return Kind.ID_CARD
    if Cue.CODE in cue or "X" in digits:
        return None
    if _MOBILE.fullmatch(digits):
        return Kind.MOBILE
    if _is_landline(digits, cue):
        return Kind.LANDLINE
    if (_CARD.fullmatch(digits) and has_luhn(digits)) or (Cue.BANK_CARD in cue and 15 <= len(digits) <= 19):
        return Kind.BANK_CARD
    return None


def nearly(digits: str, cue: Cue) -> Kind | None:
    """What the whole of a run is in all likelihood, with a digit lost or heard twice."""
    if Cue.CODE in cue:
        return None
    if Cue.PHONE in cue and 10 <= len(digits) <= 12 and re.match("1[3-9]", digits) and "X" not in digits:
        return Kind.MOBILE
    if Cue.ID_CARD in cue and 16 <= len(digits) <= 19 and digits[:2] in _PROVINCES:
        return Kind.ID_CARD
    if Cue.BANK_CARD in cue and 14 <= len(digits) <= LONGEST and "X" not in digits:
        return Kind.BANK_CARD
    return None


def _is_landline(digits: str, cue: Cue) -> bool:
    if Cue.COMPANY in cue:
        return False
    return bool(_LANDLINE.fullmatch(digits) or (Cue.HOME_PHONE in cue and _LOCAL.fullmatch(digits)))


def is_id_card(digits: str) -> bool:
    """A resident identity card of 18 characters: region, date of birth and check digit right.

    >>> is_id_card("11010519491231002X"), is_id_card("110105194912310021")
    (True, False)
    """
    return _is_nearly_id_card(digits) and len(digits) == 18 and digits[17] == id_check_digit(digits[:17])


def id_check_digit(body: str) -> str:
    """The 18th character of an ID card, of its first 17 digits (ISO 7064, MOD 11-2)."""
    return _CHECK_DIGITS[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, body, strict=True)) % 11]


def _is_nearly_id_card(digits: str) -> bool:
    """Of 18 characters or, as before 1999, 15; the check digit may be wrong."""
    if digits[:2] not in _PROVINCES or "X" in digits[:17]:
        return False
    if len(digits) == 18:
        return digits[6:8] in ("19", "20") and _is_date(digits[6:14])
    return len(digits) == 15 and _is_date("19" + digits[6:12])


def _is_date(digits: str) -> bool:
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return False
    return True


def has_luhn(digits: str) -> bool:
    """Whether the last digit is the right check digit (ISO/IEC 7812-1).

    >>> has_luhn("4111111111111111"), has_luhn("4111111111111112")
    (True, False)
    """
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


# ---- what the words before say

_SAID_BEFORE = {
    Cue.PHONE: re.compile("手机|电话|号码|联系|打给|拨打|回拨|微信|支付宝"),
    Cue.HOME_PHONE: re.compile("(?:我|您|你|客户|家里|家|住宅|本人)的?(?:联系)?(?:电话|号码)|座机|固话|固定电话|宅电"),
    Cue.ID_CARD: re.compile("身份证|证件|身份号码"),
    Cue.BANK_CARD: re.compile("卡号|银行卡|储蓄卡|借记卡|信用卡|银行账号|[张这]卡"),
    Cue.COMPANY: re.compile(
        "热线|客服|总机|前台|服务电话|官方|物业|(?:我们|公司|网点|门店|营业[厅部]|派出所|医院|学校|分行|支行|单位|它|他们|仓库|厂家)的?(?:联系)?(?:电话|座机|号码)"
    ),
}
_CODE_NAMED = re.compile(
    "(?:订单|单|运单|快递|物流|工单|流水|编|型|批次|合同|保单|发票|税|券|取件|验证|序列|条|串|设备|交易|凭证|参考|申请|受理|报修|案件|批准|文|工|端口|代)[号码]码?"
    "|订单|运单|工单|报修单|流水|序列|发票|验证码|取件码|imei|iccid|sn"
)
_AFTER_NAME = 12  # characters that may stand between 订单号 and the number: 订单号我看一下啊，是…


def cue_of(before: str, asked: str) -> Cue:
    """before  the words before the number, of its own turn; asked  the end of the turn before, by anyone."""
    cue = Cue.NONE
    for one, words in _SAID_BEFORE.items():
        if words.search(before if one is Cue.COMPANY else asked + " " + before):
            cue |= one
    if Cue.HOME_PHONE in cue:
        cue &= ~Cue.COMPANY
    named = list(_CODE_NAMED.finditer(asked + " " + before))
    if named and _is_of_a_code(asked + " " + before, named[-1].end()):
        cue |= Cue.CODE
    return cue


def _is_of_a_code(words: str, named_until: int) -> bool:
    """A code was named close before, and nothing else after it."""
    since = words[named_until:]
    return len(since) <= _AFTER_NAME and not any(pattern.search(since) for pattern in _SAID_BEFORE.values())
