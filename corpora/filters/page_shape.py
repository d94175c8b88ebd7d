"""Pages that are no running text: repetition, menus and lists of links, pages without a sentence."""

import re
from dataclasses import dataclass
from itertools import pairwise

from corpora.facts import Facts, Reason, figure, named
from hanlm.errors import ConfigError

_END = r"[。！？…．｡]|(?<=[\u3400-\u9fff])[.!?]|[.!?](?=[\s\"'”’)）」』]|$)"
_SENTENCE = re.compile(_END, re.MULTILINE)
_PUNCTUATED = re.compile(rf"{_END}|[，；：、,;:]", re.MULTILINE)
_COMMA = re.compile("[，,；;、]")
_BYTES_PER_BLOCK = 1 << 16
_MIN_BLOCK_BYTES = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatedLines:
    """Drops text that says the same over and over, within one line too: reason ``repeated_lines``.

    It is told by how small zlib makes it, block by block of 64 KiB, since a longer text finds more of itself to
    refer to.
    """

    min_compression: float = 0.12
    """Least size after zlib's quickest compression, as a share of the bytes before."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_compression <= 1:
            raise ConfigError(f"expected min_compression between 0 and 1, got {self.min_compression}.")

    def __call__(self, facts: Facts, /) -> str | None:
        ratio = compression(facts.text)
        if ratio is None or ratio >= self.min_compression:
            return None
        limit = figure(self.min_compression)
        return Reason("repeated_lines", f"compresses to {figure(ratio)} of its size, limit {limit}")


def compression(text: str) -> float | None:
    """Return the compressed share of a text's bytes; None for what is too short to say."""
    import zlib

    data = text.encode("utf-8", "surrogatepass")
    if len(data) < _MIN_BLOCK_BYTES:
        return None
    blocks = (data[start : start + _BYTES_PER_BLOCK] for start in range(0, len(data), _BYTES_PER_BLOCK))
    return sum(len(zlib.compress(block, 1)) for block in blocks) / len(data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Menu:
    """Drops pages that are mostly menus and lists of links or titles: reason ``menu``.

    Short lines without punctuation alone are no menu: so are recipes, poems and tables. Among them there must be
    what menus have: words of navigation, dates, separators, or dots that break a title off.
    """

    min_lines: int = 8
    """Shorter pages are left alone."""
    max_link_chars: int = 40
    """A line with more characters is no link."""
    min_link_share: float = 0.8
    """The share of lines, and of characters, that are short and without punctuation."""
    min_sign_share: float = 0.25
    """The share of those lines that bear a sign of a menu."""

    def __post_init__(self) -> None:
        if not (0 < self.min_link_share <= 1 and 0 < self.min_sign_share <= 1 and self.min_lines >= 1):
            raise ConfigError(
                "expected shares in (0, 1] and min_lines >= 1, got "
                f"{self.min_link_share}, {self.min_sign_share} and {self.min_lines}."
            )

    def __call__(self, facts: Facts, /) -> str | None:
        lines = facts.lines
        if len(lines) < self.min_lines:
            return None
        links = [line for line in lines if len(line) <= self.max_link_chars and not _is_prose(line)]
        if len(links) < self.min_link_share * len(lines):
            return None
        if sum(map(len, links)) < self.min_link_share * sum(map(len, lines)):
            return None
        num_signs = sum(_SIGN.search(line) is not None for line in links)
        if num_signs < max(3, self.min_sign_share * len(links)):
            return None
        share, signs = figure(len(links) / len(lines)), figure(num_signs / len(links))
        found = named(dict.fromkeys(word for line in links for word in _NAVIGATION_WORD.findall(line)))
        return Reason(
            "menu",
            f"{share} of the lines is short and without punctuation, limit {figure(self.min_link_share)}; {signs} of "
            f"these looks like a menu, limit {figure(self.min_sign_share)}{found and f': {found}'}",
        )


_NAVIGATION = (
    "首页|主页|登录|登陆|注册|退出|关于我们|联系我们|联系方式|更多|下一页|上一页|下一篇|上一篇|尾页|末页|返回|"
    "顶部|版权所有|网站地图|站点地图|友情链接|收藏本站|设为首页|加入收藏|帮助中心|客服中心|在线客服|在线留言|"
    "留言板|公司简介|企业文化|招聘|免责声明|隐私政策|用户协议|法律声明|意见反馈|订阅|RSS|ICP备|公网安备|购物车|"
    "我的订单|会员中心|热门标签|热门搜索|相关阅读|相关文章|推荐阅读|最新文章|热门文章|点击排行|排行榜|阅读全文|"
    "分享到|打印本页|关闭窗口|当前位置|导航|搜索|下载APP|扫一扫|语言选择|简体中文|Home|Login|Sign in|Copyright"
)
_NAVIGATION_WORD = re.compile(_NAVIGATION, re.IGNORECASE)
# A line of navigation holds little else; a date or a broken-off title stands at an end of its line.
_SIGN = re.compile(
    rf"^\W*(?:{_NAVIGATION})\W*$|(?:{_NAVIGATION})\s*[|｜>›»/·]|[|｜>›»·]\s*(?:{_NAVIGATION})"
    r"|^[\[(（【]?(?:19|20)\d\d[-/.年]\d{1,2}(?:[-/.月]\d{1,2}日?)?[\])）】]?(?=\s|$)"
    r"|(?:^|\s)[\[(（【]?(?:(?:19|20)\d\d[-/.年])?\d{1,2}[-/.月]\d{1,2}日?[\])）】]?(?:\s+\d\d:\d\d(?::\d\d)?)?$"
    r"|(?:\.{3}|…+|>>|»|›)$|^(?:>>|»|›|·\s)|(?:[|｜]\s*\S{1,12}\s*){3,}",
    re.IGNORECASE | re.MULTILINE,
)


def _is_prose(line: str) -> bool:
    if line.endswith(("...", "…")):  # a title that was broken off, if nothing before it looks like a sentence
        line = line.rstrip(".…")
    return _PUNCTUATED.search(line) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class NoSentence:
    """Drops text in which nothing ends like a sentence: reason ``no_sentence``."""

    min_chars: int = 100
    """A shorter text, such as a poem of four lines or a title, is left alone."""
    max_commas: int = 4
    """A text with more commas is prose of someone who spares the full stops."""

    def __post_init__(self) -> None:
        if self.min_chars < 0 or self.max_commas < 0:
            raise ConfigError(
                f"expected min_chars and max_commas of at least 0, got {self.min_chars}, {self.max_commas}."
            )

    def __call__(self, facts: Facts, /) -> str | None:
        if facts.num_visible < self.min_chars or _SENTENCE.search(facts.text):
            return None
        num_commas = len(_COMMA.findall(facts.text))
        if num_commas > self.max_commas or _is_verse(facts.lines):
            return None
        return Reason(
            "no_sentence",
            f"no sentence ends in {figure(facts.num_visible)} characters, limit {figure(self.min_chars)}; "
            f"number of commas {figure(num_commas)}, limit {figure(self.max_commas)}",
        )


def _is_verse(lines: list[str]) -> bool:
    """Say whether lines look like a poem: short, without figures, most as long as the one before, or nearly."""
    if len(lines) < 4 or max(map(len, lines)) > 30 or sum(map(str.isascii, "".join(lines))) > len(lines) // 4:
        return False
    alike = sum(abs(len(a) - len(b)) <= 2 for a, b in pairwise(lines))
    return alike >= 0.6 * (len(lines) - 1)
