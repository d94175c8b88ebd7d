"""The Chinese filters on pages of our own: what each must drop, and what must survive all of them."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.facts import Facts
from corpora.filters.chinese_registry import CHINESE_RULES
from corpora.filters.garbled import Garbled
from corpora.filters.page_shape import Menu, NoSentence, RepeatedLines, compression
from corpora.filters.plain import HanRatio, Length
from corpora.filters.spam import Spam
from corpora.filters.term_index import TermIndex
from corpora.filters.word_list import WordList, read_terms
from hanlm.errors import ConfigError, InputError

WEB = [name for name, (_, _, presets) in CHINESE_RULES.items() if "web" in presets]

GOOD = {
    "law on gambling": "为依法惩治赌博犯罪活动，根据刑法的有关规定，现就办理赌博刑事案件具体应用法律的若干问题解释如下：以营利为目的，"
    "在计算机网络上建立赌博网站，或者为赌博网站担任代理，接受投注的，属于开设赌场。",
    "news on gambling": "警方近日破获一起特大跨境网络赌博案。经查，该团伙开设名为某某娱乐城的博彩网站，内设百家乐、老虎机、时时彩等玩法，"
    "通过发展代理、注册送彩金等手段吸引参赌人员，涉案投注金额达二十亿元。目前三十名犯罪嫌疑人已被依法采取刑事强制措施。",
    "news on invoices": "记者调查发现，网上代开发票的广告随处可见，对方声称开票保真、验真后付款，税点优惠。税务部门提醒，代开发票属于违法行为，"
    "虚开增值税专用发票情节严重的，将被追究刑事责任。",
    "small shop": "欢迎光临我们的茶叶店。今年的新茶已经上市，产自武夷山，口感醇厚。购买两斤以上包邮，价格优惠，如需订购请拨打热线 0599-1234567。",
    "recipe": "# 西红柿炒鸡蛋\n\n## 原料\n- 西红柿\n- 鸡蛋\n- 食用油\n- 盐\n- 糖\n- 葱花\n\n## 计算\n- 西红柿 2 个\n- 鸡蛋 3 个\n\n"
    "## 操作\n- 西红柿切块，鸡蛋打散。\n- 热锅下油，先炒鸡蛋，再放西红柿，加盐出锅。",
    "modern poem": "风起的时候\n我站在山岗上\n看见远方的灯火\n一盏一盏亮起来\n像是谁的眼睛\n望着我回家的路\n夜很深了\n星星落在河里\n"
    "没有人说话\n只有水在流着\n流过我的村庄\n流过我的童年\n流向看不见的海",
    "classical poem": "春眠不觉晓\n处处闻啼鸟\n夜来风雨声\n花落知多少",
    "chronicle": "1949年10月1日，中华人民共和国成立。\n1950年6月，土地改革法公布。\n1953年，第一个五年计划开始。\n1956年，三大改造完成。\n"
    "1957年，武汉长江大桥通车。\n1964年10月，第一颗原子弹爆炸成功。\n1970年4月，第一颗人造卫星发射成功。\n1978年12月，改革开放开始。",
    "rare characters": "《康熙字典》收录了许多生僻字，如𠀀、𪚥、䨻、㐂等，这些字在日常生活中很少用到，但是学者们仍然在研究它们的来源和演变。",
    "traditional": "今天天氣很好，我們一起去公園散步吧，那裡有很多花。",
    "a long address": "下载地址：https://example.com/a/b/c-d-e?token=abcdef0123456789abcdef0123456789abcdef0123456789abcdef，请在浏览器里打开它。下载完成以后先核对校验码，再按照说明一步一步安装；"
    "如果在安装的时候遇到问题，可以先看一看常见问题的解答，多数情况下都能找到办法，实在不行再来论坛里提问，大家都很乐意帮忙。",
}

SENTENCE = "今天天气很好，我们一起去公园散步吧，那里有很多花。"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_pages_survive_every_filter_of_the_web_preset(name: str):
    facts = Facts(GOOD[name])
    assert {rule: CHINESE_RULES[rule][0]()(facts) for rule in WEB} == dict.fromkeys(WEB)


SPAM = {
    "gambling": "澳门威尼斯人官网为您提供真人百家乐、时时彩平台、老虎机等电子游艺，注册送彩金88元，首存送彩金，代理返水高达1.2%，客服微信：abc8888。",
    "invoices": "本公司代开发票，代开增值税发票，税点优惠，验真后付款，开票保真，量大从优，咨询电话：13800138000，欢迎来电。",
    "loans": "黑户可贷，无视征信，当天放款，秒批秒下款，信用卡套现，花呗套现，急用钱加VX：dk10086，凭身份证贷款。",
    "marketing": "厂家直销一手货源，高仿手表，精仿名表，全国包邮，支持货到付款，假一赔十，诚招代理，招代理加微信：biao6688，立即抢购！",
    "ranking": "专业网站优化、关键词排名优化、百度快照排名，站群系统，蜘蛛池，外链代发，软文代发，友链交换，价格优惠，QQ：12345678。",
    "traditional": "澳門威尼斯人官網，真人百家樂、時時彩平台、註冊送彩金，首存送彩金，信譽平台，開獎直播，加微信：abc12345。",
    "masked contact": "代開發票，開票保真，可驗真後付款，稅點優惠，咨詢電話：<PHONE>，加微信：<ACCOUNT>，量大從優，歡迎來電。",
}


@pytest.mark.parametrize("name", sorted(SPAM))
def test_spam_is_dropped(name: str):
    assert Spam()(Facts(SPAM[name])) == "spam"


def test_spam_between_much_else_is_kept():
    assert Spam()(Facts(SPAM["gambling"] + SENTENCE * 100)) is None


def test_a_file_of_spam_terms_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "terms.yaml").write_text("- 这\n- 不是表\n", encoding="utf-8")
    with pytest.raises(InputError, match="kinds of terms"):
        Spam(terms=tmp_path / "terms.yaml")(Facts(SENTENCE))


GARBLED = {
    "锟斤拷": "锟斤拷锟斤拷锟斤拷你好锟斤拷",
    "memory": "烫烫烫烫烫烫屯屯屯屯屯屯烫烫烫烫",
    "UTF-8 as GBK": SENTENCE.encode().decode("gbk", "replace"),
    "UTF-8 as GBK, odd pairs dropped": (SENTENCE * 3).encode().decode("gbk", "ignore"),
    "UTF-8 as Latin-1": SENTENCE.encode().decode("latin1"),
    "UTF-8 as Windows-1252": SENTENCE.encode().decode("cp1252", "replace"),
    "GBK as Big5": (SENTENCE * 3).encode("gbk").decode("big5", "ignore"),
    "GBK as UTF-8": SENTENCE.encode("gbk").decode("utf-8", "replace"),
    "private use": "这是\ue000一\ue001个\ue002坏\ue003字体的文件，里面的字都认不出来。",
    "Base64": "图片：" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU2Nzg5" * 10,
}


@pytest.mark.parametrize("name", sorted(GARBLED))
def test_garbled_text_is_dropped(name: str):
    assert Garbled()(Facts(GARBLED[name])) == "garbled"


def test_european_accents_and_names_in_rare_characters_are_not_garbled():
    assert Garbled()(Facts("La fête à l'été où naïveté et déjà vu règnent, café crème brûlée garçon.", "fr")) is None
    assert Garbled()(Facts("龑龘朱镕基喆堃")) is None


@pytest.mark.parametrize("text", ["好好学习天天向上" * 60, SENTENCE * 30, "顶" * 300, "哈哈哈哈哈哈哈，" * 50])
def test_the_same_over_and_over_is_dropped(text: str):
    assert RepeatedLines()(Facts(text)) == "repeated_lines"


def test_a_long_document_is_judged_block_by_block():
    varied = "".join(chr(0x4E00 + (number * 7919) % 5000) for number in range(60_000))
    assert RepeatedLines()(Facts(varied)) is None
    assert compression("短") is None


MENUS = {
    "navigation": "首页\n公司简介\n产品中心\n新闻动态\n联系我们\n在线留言\n友情链接\n版权所有 某某公司\n网站地图\n加入收藏",
    "titles with dates": "\n".join(
        f"关于举办第{number}届职业技能大赛的通知 2020-0{number}-1{number}" for number in range(1, 9)
    ),
    "dates with titles": "\n".join(f"[2021-03-{day:02}] 市教育局召开工作会议" for day in range(1, 20)),
    "broken titles": "首页 | 登录 | 注册\n" + "\n".join(f"热门小说第{number}部最新章节..." for number in range(10)),
}


@pytest.mark.parametrize("name", sorted(MENUS))
def test_menus_are_dropped(name: str):
    assert Menu()(Facts(MENUS[name])) == "menu"


def test_lists_without_signs_of_a_menu_are_kept_by_it():
    for text in (
        "\n".join(f"第{n}章 函数与极限" for n in range(1, 15)),
        "\n".join(f"{y}年 出版一部小说" for y in range(1991, 2005)),
    ):
        assert Menu()(Facts(text)) is None


def test_a_page_without_a_sentence_is_dropped():
    rule = NoSentence()
    names = "\n".join(f"产品型号{number}的技术参数与报价表" for number in range(20))
    assert rule(Facts(names)) == "no_sentence"
    assert rule(Facts(names + "\n以上就是全部内容。")) is None
    assert rule(Facts(names + "\n以上就是全部内容.谢谢")) is None  # a Latin full stop between Han ends one too
    assert rule(Facts("短")) is None


def test_prose_that_spares_the_full_stops_is_kept():
    assert NoSentence()(Facts("我昨天去医院了，医生说没事，让我多休息，多喝水，过几天再去看看" * 5)) is None


def write_list(folder: Path, *terms: str) -> Path:
    path = folder / "list.txt"
    path.write_text("# remarks are no terms\n" + "\n".join(terms) + "\n\n", encoding="utf-8")
    return path


def test_a_word_list_drops_at_so_many_distinct_terms(tmp_path: Path):
    rule = WordList(lists=(write_list(tmp_path, "苹果", "香蕉", "橘子", "Ass"),), min_distinct=2)
    assert rule(Facts("我喜欢苹果和香蕉。")) == "word_list"
    assert rule(Facts("我喜欢苹果，苹果，苹果。")) is None
    assert rule(Facts("我喜歡蘋果和香蕉。")) == "word_list"  # script does not count
    assert rule(Facts("苹果班级 class")) is None  # a Latin term is a word of its own
    assert rule(Facts("苹果 ＡＳＳ")) == "word_list"  # case and width do not count
    assert rule(Facts("这里什么也没有。")) is None


def test_a_word_list_drops_at_a_density(tmp_path: Path):
    rule = WordList(lists=(write_list(tmp_path, "苹果"),), min_distinct=5, min_per_1000_chars=50.0)
    assert rule(Facts("苹果" * 10)) == "word_list"
    assert rule(Facts("苹果" + SENTENCE * 10)) is None


def test_a_missing_or_empty_word_list_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        WordList(lists=(tmp_path / "none.txt",))(Facts("字"))
    with pytest.raises(InputError, match="got none"):
        read_terms([write_list(tmp_path)])


@given(st.lists(st.text("甲乙丙丁", min_size=1, max_size=15), max_size=8), st.text("甲乙丙丁", max_size=60))
def test_the_index_counts_as_a_search_at_every_place_does(terms: list[str], text: str):
    index = TermIndex(terms)
    expected = {
        number: count
        for number, term in enumerate(index.terms)
        if (count := sum(text.startswith(term, place) for place in range(len(text))))
    }
    assert index.counts(text) == expected


def test_terms_that_fold_to_the_same_are_all_found():
    index = TermIndex(["台湾", "臺灣", "ABC", "abc"])
    assert index.counts("台灣 Abc") == {0: 1, 1: 1, 2: 1, 3: 1}


def test_the_plain_rules_keep_their_reasons():
    assert Length()(Facts(" \n")) == "empty"
    assert Length(min_chars=5)(Facts("四个字了")) == "too_short"
    assert Length(max_chars=3)(Facts("四个字了")) == "too_long"
    assert HanRatio()(Facts("mostly Latin 字")) == "low_han_ratio"
    assert HanRatio()(Facts("汉字汉字 a", "en")) == "high_han_ratio"
    assert HanRatio()(Facts("汉字汉字 a", "zh-Hant")) is None


@pytest.mark.parametrize("name", sorted(CHINESE_RULES))
def test_every_rule_is_described_and_travels_to_workers(name: str):
    factory, description, presets = CHINESE_RULES[name]
    assert description
    assert set(presets) <= {"plain", "web"}
    rule = factory()
    assert pickle.loads(pickle.dumps(rule)) == rule


@given(st.text(st.characters()))
def test_no_text_breaks_a_rule(text: str):
    facts = Facts(text)
    for name in WEB:
        reason = CHINESE_RULES[name][0]()(facts)
        assert reason is None or reason.islower()


@pytest.mark.parametrize(
    ("factory", "limits"),
    [
        (Spam, {"min_score": 0}),
        (WordList, {"min_distinct": 0}),
        (Garbled, {"max_bad_share": -1}),
        (RepeatedLines, {"min_compression": 2}),
        (Menu, {"min_link_share": 0}),
        (NoSentence, {"min_chars": -1}),
        (Length, {"min_chars": 5, "max_chars": 4}),
        (HanRatio, {"min_han_ratio": 1.5}),
    ],
)
def test_impossible_limits_are_refused(factory: type, limits: dict[str, float]):
    with pytest.raises(ConfigError):
        factory(**limits)
