"""Personal data is masked by type; numbers that only look like it are not. No number here is a person's."""

import random
import re
from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.cleaning.personal_data import DEFAULT_TAGS, PersonalData, mask, mask_personal_data
from corpora.cleaning.resident_id import check_digit, passes_luhn
from hanlm.errors import ConfigError
from hanlm.text import normalise

REGIONS = ("110101", "310115", "440305", "510107", "650102", "820000")


def luhn_completed(digits: str) -> str:
    """Return the digits with the last one that makes them pass Luhn's check."""
    return next(digits + str(d) for d in range(10) if passes_luhn(digits + str(d)))


def resident_id(rng: random.Random) -> str:
    day = date(1930, 1, 1) + timedelta(days=rng.randrange(33_000))
    first = f"{rng.choice(REGIONS)}{day:%Y%m%d}{rng.randrange(1000):03}"
    return first + check_digit(first)


def mobile(rng: random.Random) -> str:
    return rng.choice(["130", "138", "151", "166", "177", "189", "199"]) + f"{rng.randrange(10**8):08}"


def bank_card(rng: random.Random) -> str:
    return luhn_completed(rng.choice(["621700", "622202", "625900"]) + f"{rng.randrange(10**12):012}")


def email(rng: random.Random) -> str:
    name = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789_", k=8))
    return f"x{name}@{rng.choice(['mail.cn', 'post.com', 'corp.com.cn'])}"


def plate(rng: random.Random) -> str:
    letter = rng.choice("ABCDEFGH")
    ordinary = rng.choice([f"{letter}{rng.randrange(10**4):04}", f"{rng.randrange(10**5):05}"])
    return rng.choice("京沪粤川浙苏") + letter + rng.choice([ordinary, f"D{rng.randrange(10**5):05}"])


MAKERS = {"resident-id": resident_id, "mobile": mobile, "bank-card": bank_card, "email": email, "plate": plate}


def test_the_check_digit_is_the_standard_s():
    """GB 11643 gives 11010519491231002X as its example."""
    assert check_digit("11010519491231002") == "X"


@given(st.integers(0, 10**9), st.sampled_from(sorted(MAKERS)))
def test_each_type_is_masked_between_han_and_its_neighbours_stay(seed: int, name: str):
    value = MAKERS[name](random.Random(seed))
    assert mask(f"请记住{value}，谢谢") == (f"请记住{DEFAULT_TAGS[name]}，谢谢", Counter({name: 1}))
    assert mask(f"({value})") == (f"({DEFAULT_TAGS[name]})", Counter({name: 1}))


@given(st.integers(0, 10**9))
def test_a_wrong_check_digit_leaves_a_number_as_it_is(seed: int):
    rng = random.Random(seed)
    for value in (resident_id(rng), bank_card(rng)):
        wrong = value[:-1] + rng.choice(sorted(set("0123456789") - {value[-1]}))
        assert mask_personal_data(f"编号{wrong}。") == f"编号{wrong}。"


def test_identity_numbers_need_a_region_and_a_date():
    for first in ("99010119900307771", "11010119901307771", "11010118000307771", "00010119900307771"):
        assert mask_personal_data(first + check_digit(first)) == first + check_digit(first)
    first = "11010119900307771"
    value = first + check_digit(first)
    assert mask_personal_data(f"{value[:6]} {value[6:14]} {value[14:]}") == "【身份证号】"
    assert mask_personal_data("id" + value) == "id" + value
    assert mask_personal_data(value + "1") == value + "1"


def test_the_old_form_has_fifteen_digits_and_a_serial_number_is_none():
    number = next(n for i in range(10) if not passes_luhn(n := f"11010190030700{i}"))
    imei = luhn_completed("35010190030700")
    assert mask_personal_data(number) == "【身份证号】"
    assert mask_personal_data(f"序列号{imei}") == f"序列号{imei}"
    assert mask_personal_data(f"身份证：{imei}") == "身份证：【身份证号】"
    assert mask_personal_data("110101901307001") == "110101901307001"


@pytest.mark.parametrize(
    "text",
    [
        "13812345678",
        "138 1234 5678",
        "138-1234-5678",
        "+86 13812345678",
        "+8613812345678",
        "0086-138-1234-5678",
        "(+86) 13812345678",
    ],
)
def test_mobile_numbers_are_written_in_many_ways(text: str):
    assert mask_personal_data(f"电话：{text}。") == "电话：【手机号】。"
    assert mask_personal_data(f"电话{text}转") == "电话【手机号】转"


def test_full_width_digits_are_found_once_the_text_is_normalised():
    assert mask_personal_data(normalise("电话１３８１２３４５６７８")) == "电话【手机号】"


def test_cards_are_found_in_groups_and_foreign_issuers_with_a_word_or_groups():
    assert mask_personal_data(luhn_completed("622202123456789012")) == "【银行卡号】"
    visa = luhn_completed("411111111111111")
    grouped = " ".join(visa[i : i + 4] for i in range(0, 16, 4))
    assert mask_personal_data(grouped) == "【银行卡号】"
    assert mask_personal_data(f"卡号{visa}") == "卡号【银行卡号】"
    assert mask_personal_data(f"微博{visa}") == f"微博{visa}"


@pytest.mark.parametrize("text", ["京A12345", "粤B·D12345", "沪A D12345", "粤Z1234港", "京A1234警", "川A12345D"])
def test_plates_are_written_in_many_ways(text: str):
    assert mask_personal_data(f"车牌{text}的车") == "车牌【车牌号】的车"


@pytest.mark.parametrize(
    "text",
    [
        "ISBN 978-7-302-12345-6 与 9787302123456",
        "订单号 20261123138123456789，单号 SF13812345678901，编号 A-13812345678",
        "2026-11-23 09:30:15.138123 时间戳 1700000000 与 1700000000123",
        "c = 299792458 m/s，h = 6.62607015e-34，π = 3.14159265358979，0.13812345678",
        "共 13812345678 元，13812345678个，￥13812345678",
        "https://a.b/13812345678.html 与 https://a.b/?id=15212345678&x=622202123456789012",
        "11812345678 与 12345678901 与 10086 与 95588",
        "git@github.com:org/repo.git，ssh root@my.host.com，icon@2x.png，a@b，user@example.com，root@localhost",
        "`x = 13812345678` 与 @decorator 与 #13812345678",
        "京A座12345，京ICP备12345678号，新A1，京IA2345，沪O12345，苏E12345678",
        "deadbeef13812345678cafe 与 1.13812345678 与 138123456789",
    ],
)
def test_what_only_looks_like_personal_data_stays(text: str):
    assert mask_personal_data(text) == text


def test_in_code_numbers_are_masked_where_they_are_quoted():
    code = "```\nlimit = 13812345678\nphone = \"13812345678\"\nmail = 'a@post.com'\n```"
    assert mask_personal_data(code) == "```\nlimit = 13812345678\nphone = \"【手机号】\"\nmail = '【邮箱】'\n```"


def test_optional_types_are_masked_where_asked_for():
    text = "电话 010-82345678，护照 E12345678，编号 E12345678x，主机 8.8.8.8 与 192.168.1.1，版本 1.2.3.4"
    assert mask_personal_data(text) == text
    masked, counts = PersonalData(types=("landline", "passport", "ipv4")).mask(text)
    assert masked == "电话 【电话号码】，护照 【护照号】，编号 E12345678x，主机 【IP地址】 与 192.168.1.1，版本 1.2.3.4"
    assert counts == {"landline": 1, "passport": 1, "ipv4": 1}


def test_tags_can_be_chosen_and_are_checked():
    assert PersonalData(tags={"mobile": "<PHONE>"})("13812345678") == "<PHONE>"
    for wrong in ({"mobile": "1"}, {"phone": "x"}, {"email": ""}):
        with pytest.raises(ConfigError):
            PersonalData(tags=wrong)
    with pytest.raises(ConfigError, match="phone"):
        PersonalData(types=("phone",))


@given(st.text(st.sampled_from("0123456789 -+X京A@.cm中（）:/w\"'`\n"), max_size=60))
def test_masking_twice_is_masking_once(text: str):
    once, counts = mask(text)
    assert mask(once) == (once, Counter())
    assert sum(counts.values()) == len(re.findall("【", once))


def test_precision_and_recall_on_generated_text():
    """Of each type 300 in sentences, among as many decoys: random digits of every length, prices, dates, ids."""
    rng = random.Random(4)
    found, wrong = Counter[str](), 0
    for _ in range(300):
        for name, make in MAKERS.items():
            masked, counts = mask(f"联系人留下了{make(rng)}，第{rng.randrange(9)}次。")
            found[name] += counts == {name: 1} and masked.count("【") == 1
        for decoy in (
            str(rng.randrange(10 ** rng.randrange(3, 22))),
            f"{rng.randrange(10**6)}.{rng.randrange(10**11)}",
            f"20{rng.randrange(10**14):014}",
            f"{rng.choice('ABCDEF')}{rng.randrange(10**10)}",
            f"{rng.randrange(2000, 2030)}-{rng.randrange(1, 13)}-{rng.randrange(1, 29)}",
        ):
            wrong += mask(f"编号为{decoy}，已登记。")[1].total()
    assert all(found[name] == 300 for name in MAKERS)
    assert wrong <= 15  # of 1500, nearly all random 11-digit numbers in the ranges of mobiles
