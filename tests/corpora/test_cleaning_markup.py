"""Markup is reduced to its text; what only looks like markup stays."""

import pytest

from corpora.cleaning.chain import Chain
from corpora.cleaning.markup import remove_markup

CLEAN = Chain(["normalise", "markup"])


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("<p>正文</p><p>第二段</p>", "正文\n\n第二段"),
        ("<div class=\"a\"><a href='http://x.y'>这里</a>和<b>那里</b></div>", "这里和那里"),
        ("一<br>二<br/>三", "一\n二\n三"),
        ("前<!-- 注释\n两行 -->后", "前后"),
        ("前<script type='a'>var x = '<p>';</script>后<style>b{}</style>", "前后"),
        ('<img src=a.png alt="图">文字', "文字"),
        ("水<sub>2</sub>O", "水2O"),
        ("<doc><docno>1</docno><content>新闻内容。</content></doc>", "1\n\n新闻内容。"),
        ("<ul><li>一<li>二</ul>", "一\n二"),
        ('见[文档](https://a.b/c_(d)e)与![架构图](img/a.png "标题")。', "见文档与架构图。"),
        ("[![徽章](https://a.b/c.svg)](https://a.b)", "徽章"),
        ("![image.png](a.png)文", "文"),
        ("见[文档][1]和[别处][ ]。\n\n[1]: https://a.b/c 标题\n", "见文档和[别处][ ]。"),
        ("见 <https://a.b/c>", "见 https://a.b/c"),
        ("[b]粗[/b][url=http://a.b]链接[/url][img]http://a.b/c.png[/img][size=3]字[/size]", "粗链接字"),
        ("[[北京市|首都]]是[[中国]]的'''首都'''{{cite web|url=x}}[[File:a.png|thumb|图]]", "首都是中国的首都"),
        ("-{zh-hans:软件; zh-hant:軟體}-与-{乾}-隆", "软件与乾隆"),
        ("{{reflist}}\n== 历史 ==\n正文__NOTOC__", "历史\n正文"),
    ],
)
def test_markup_is_reduced_to_its_text(marked: str, text: str):
    assert CLEAN(marked) == text


@pytest.mark.parametrize(
    "text",
    [
        "若 a < b 且 b > c，则 a<b>c 与 x<y。",
        "List<String>、vector<int>、Map<String, List<T>> 与 #include <stdio.h>",
        '使用 <div> 标签；`<p>文</p>`；标记 <a href="x"> 与 </a>。',
        "他写道：“<b>”是开头。",
        "HTML 代码：<p>一</p><p>二</p>",
        "用 <TAB> 键，<Ctrl+C> 中止，<你的名字> 换成自己的，邮箱 <a@b.com>",
        "f[i](x)、见[附录](下文)、a[b](c)、[1](注)、[x](y)",
        "arr = [[1, 2], [3, 4]]，[[ -f x ]]，{{ user.name }}，{{{ .starter }}}",
        "a[i] 与 b[u]，[b] 是变量；[ ] 待办 [x] 完成",
        "    def f(x):\n        return '<b>' + table[x](1)\n    y = f(x)\n    z = g(y)",
        "```html\n<p>正文</p>\n[a](http://b)\n```",
        "| <b>粗</b> | [x](http://a.b) |\n|---|---|",
        "设 $a<b>c</b>$ 与 $$[x](http://y)$$。",
        "# 标题\n\n- *强调* 与 **粗体**\n> 引用 _斜体_\n\n[^1]: 脚注\n[1]: 张三（2020）",
        "a -{x}- b，'''str''' 与 x = '''abc'''",
        "==",
        "<3 >_< (>^ω^<) <<<>>>",
    ],
)
def test_what_only_looks_like_markup_stays(text: str):
    assert remove_markup(text) == text


def test_hostile_markup_costs_linear_time():
    for piece in ("<", "<p ", "<!--", "[", "![", "[b]", "{{cite", "[[", "<script>", "<a b='"):
        remove_markup(piece * 20_000)
