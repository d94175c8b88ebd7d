"""Which lines are a page's furniture: for certain, or likely so."""

import re
from typing import Final

from corpora.cleaning.boilerplate_names import BESIDE_OTHERS, OF_PAGES

# Whole literals, so that the engine can skip from one possible first character to the next.
_RARE_WORDS: Final = (
    "ICP|公网安备|许可证|opyright|OPYRIGHT|©|版权|ights|转载|转发|ookie|OOKIE"
    "|avaScript|avascript|声明|未经|非经|位置|首页"
)
RARE_HINT: Final = re.compile(_RARE_WORDS)
"""Something that stands in every certain line longer than ``MAX_SHORT_LINE``."""
HINT: Final = re.compile(
    _RARE_WORDS
    + "|编辑|责编|审核|上一|下一|分享|技术支持|扫一扫|查看|阅读|全文|更多|登录|登陆|注册|二维码|浏览|点击|人气|收藏"
    "|顶部|打印|字体|字号|跳转|跳到|跳过|加载|评论|导航|举报|投诉|关闭|扫码|kip to|owered|oading|首頁|登入|註冊"
)
"""Something that stands in every shorter one."""
MAX_SHORT_LINE: Final = 60

_PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_LICENCE: Final = re.compile(
    rf"[{_PROVINCES}]\s?ICP\s?[备证]\s?(?:案|字)?第?\s?[\dA-Z]{{5,12}}\s?号|公网安备\s?第?\s?\d{{8,16}}\s?号"
    r"|(?:许可证|备案)(?:编)?号?\s?[:：]?\s?[\w()（）〔〕\[\]-]{0,12}\d{5,}[\w-]*\s?号?"
)
_LICENCE_WORDS: Final = re.compile(
    r"ICP|备案|公网安备|增值电信|网络文化|视听节目|新闻信息|出版服务|广播电视节目|药品信息"
)
_SENTENCE: Final = re.compile(r"[。！？；]")
_COPYRIGHT: Final = re.compile(
    r"""(?xi)^[\s|·•【\[(（-]*(?:                                  # a comment of a program begins otherwise
      (?:copyright|©|\(c\)|版权所有)[^。！？]{0,110}
      (?:\b(?:19|20)\d\d\b|©|rights|公司|版权|copyright|网站)[^。！？]{0,110}
    | 版权所有[\s,，!！]*(?:侵权必究|翻印必究|不得转载|违者必究|未经许可不得转载|盗版必究)?
    | all\ rights?\ reserved\W*
    | (?:19|20)\d\d\s?[-–—]\s?(?:19|20)\d\d\s?©?[^。]{0,40}(?:版权所有|all\ rights\ reserved)[^。]{0,20}
    | ©\s?(?:19|20)\d\d[^。]{0,80}
    )\.?$"""
)
_PLACES: Final = (
    "微信朋友圈|朋友圈|微信|新浪微博|腾讯微博|微博|qq空间|qq好友|qq|空间|豆瓣|人人网|开心网|百度贴吧"
    "|facebook|twitter|linkedin|一键分享|更多"
)
_BUTTONS: Final = (
    "加入收藏|设为首页|收藏本站|打印本页|打印本文|打印|关闭窗口|关闭本页|关闭|我要纠错|我要评论|发表评论|返回顶部"
    "|举报投诉|网友评论|扫一扫分享"
)
_WHOLE: Final = re.compile(
    rf"""(?xi)^[\s【\[（(<>»·•|-]*(?:
      (?:本文)?(?:责任编辑|责编|值班编辑|网络编辑|实习编辑)\s?[:：]\s?[\w·、\ /]{{0,16}}
    | (?:编辑|审核)\s?[:：]\s?[\u4e00-\u9fff]{{2,3}}
    | [上下]一[篇页章](?:文章|新闻|帖子|教程)?\s?[:：]\s?[^。]{{0,80}}
    | (?:←\s?)?上一[篇页章][^。]{{0,12}}(?:目录|返回|列表|书签)[^。]{{0,12}}下一[篇页章](?:\s?→)?
    | (?:点击|点此|点这里|戳这里)(?:查看|加载|显示|浏览|阅读|展开|了解)(?:更多|全文|全部|剩余|原文)
      (?:内容|评论|回复|新闻|文章|详情|精彩|信息|图片|回答)*
    | (?:查看|加载|显示|阅读|展开)(?:更多|全文|剩余|原文)(?:评论|回复|新闻|文章|精彩内容|图片|回答)?\s?[>»▼▽↓.…]+
    | (?:返回|回到)(?:页面)?顶部
    | (?:{_BUTTONS})(?:[\s|·】\]【\[)(/-]+(?:{_BUTTONS}))+
    | (?:分享|转发)(?:本文)?[到至]\s?[:：]?\s?(?:{_PLACES})(?:[\s,，、|/]*(?:{_PLACES}))*
    | (?:分享|转发)(?:本文)?[到至]\s?[:：]
    | (?:微信|微博|qq)?扫(?:一扫|码)[,，]?(?:分享|关注|下载|打开)[^。]{{0,24}}
    | (?:长按|扫描|识别|扫一扫)[^。]{{0,12}}二维码[^。]{{0,6}}(?:关注|下载|分享|加入|添加)[^。]{{0,20}}
    | (?:您|你)?(?:现在|当前|目前|所在)?的?(?:所在)?位置(?:是)?\s?[:：]\s?
      [^。]{{0,100}}?(?:[>»›/→]|首页)[^。]{{0,100}}
    | (?:首页|主页|home)(?:\s?[>»›→]\s?[^。>»›→]{{1,24}}){{1,6}}
    | 字[体号]\s?[:：]?\s?[\[【(（]?\s?[大小][\s|/·]+(?:中[\s|/·]+)?[小大].{{0,30}}
    | (?:阅读|浏览|点击|访问|人气)(?:次数|数|量|率)?\s?[:：(（]\s?\d[\d,.万]*\s?次?[)）]?
      (?:\s*(?:评论|回复|收藏|点赞|赞)(?:数)?\s?[:：(（]?\s?\d*[)）]?)*
    | (?:转载|转发)(?:请|时请|务必)?(?:注明|标明|保留)(?:本文)?(?:出处|来源|原文|作者|地址|链接)[^。]{{0,100}}
    | (?:未经|非经)[^。]{{0,16}}(?:授权|许可|同意|允许)[^。]{{0,10}}
      (?:不得|禁止|严禁|请勿)[^。]{{0,6}}(?:转载|复制|使用|镜像)[^。]{{0,16}}
    | (?:特别|郑重|免责|版权)?声明\s?[:：](?=[^\n]*(?:转载|版权|本网|本站|观点|侵权|删除))[^\n]{{0,180}}
    | skip\ to\ (?:main\ |the\ )?(?:content|navigation|search)
    | (?:跳转到|跳转至|跳到|跳过)(?:主要|主)?(?:内容|正文|导航|内容区)
    | powered\ by\ [\w!.\ ]{{2,40}} | 技术支持\s?[:：]\s?[^。]{{2,24}}(?:公司|网络|科技)
    | (?:您的|你的|当前)浏览器(?:版本过低|不支持\ ?javascript|已禁用|未启用)[^\n]{{0,100}}
    | (?:请|您需要|需要)(?:先)?(?:启用|开启|打开)\s?(?:浏览器的?)?\s?javascript[^。]{{0,60}}
    | (?:please\ enable|you\ need\ to\ enable)\ javascript[^\n]{{0,100}}
    | (?:正在)?加载中(?:[.…]+)? | loading(?:[.…]+)
    | (?:举报|投诉|违法和不良信息举报)(?:电话|热线|邮箱)\s?[:：]\s?[\w@.\ ()（）-]{{5,50}}
    )[\s】\])）<>»|·。.]*$"""
)
_COOKIES: Final = re.compile(
    r"(?xi)^(?=.*cookie)(?=.*(?:接受|同意|体验|隐私|accept|agree|consent|experience|privacy|policy))"
    r"(?:本网站|本站|我们(?:的网站)?(?:会)?使用|继续(?:浏览|使用)|为了(?:给您|向您|提供|改善)"
    r"|this\ (?:web)?site\ uses|we\ use|by\ (?:continuing|using))"
)
_SEPARATORS: Final = re.compile(r"\s*[|｜┊│·•»]\s*|\s+[-/]\s+|\s*>>?\s*|\s+|[\]】]\s*[\[【]")
_MIN_LINKS, _MAX_LINKS, _MAX_LINK_CHARS = 3, 30, 12
_MIN_SHARE_OF_PAGES: Final = 0.5


def is_certain(line: str) -> bool:
    """Say whether a line, in which ``HINT`` was found, is a page's furniture wherever it stands."""
    line = line.strip()
    if line[0] == "|" and line[-1] == "|":  # a row of a table
        return False
    if _WHOLE.match(line) or _COOKIES.match(line):
        return True
    if not _SENTENCE.search(line):
        if _COPYRIGHT.match(line) or (_LICENCE_WORDS.search(line) and _LICENCE.search(line)):
            return True
        return _is_navigation(line)
    return False


def is_likely(line: str) -> bool:
    """Say whether a line is a page's furniture if it stands beside some."""
    return line.strip("\t -*[]【】|>»·.…") in BESIDE_OTHERS


def _is_navigation(line: str) -> bool:
    """Say whether a line holds three names of pages and more, at least half of them well known, one of them plain."""
    names = [name for name in _SEPARATORS.split(line.strip("\t []【】|")) if name]
    if not _MIN_LINKS <= len(names) <= _MAX_LINKS or any(len(name) > _MAX_LINK_CHARS for name in names):
        return False
    num_known = sum(name in OF_PAGES for name in names)
    return num_known >= max(2, _MIN_SHARE_OF_PAGES * len(names)) and any(name in BESIDE_OTHERS for name in names)
