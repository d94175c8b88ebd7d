"""A page's furniture goes, line by line; sentences that speak of the same stay."""

import pytest

from corpora.cleaning.boilerplate import remove_boilerplate

AROUND = "正文的第一句话说得很清楚。\n{}\n正文的第二句话也是。"
CERTAIN = """
Copyright © 2005-2020 某某公司 版权所有
版权所有，侵权必究
All Rights Reserved.
京ICP备12345678号-1 京公网安备 11010802012345号
增值电信业务经营许可证：京B2-20201234
责任编辑：张三
（责任编辑：李 四）
上一篇：某某新闻
下一篇：没有了
上一章 目录 下一章
首页 | 新闻 | 登录
首页 新闻 体育 登录 注册
【打印本页】 【关闭窗口】
点击查看更多
查看更多 >>
分享到：微信 微博 QQ空间
您的位置：首页 > 新闻 > 正文
首页 > 国内 > 正文
阅读(123)  评论(4)
字体：大 中 小
转载请注明出处：某网
未经授权不得转载
声明：本文仅代表作者观点，不代表本站立场。
We use cookies to improve your experience. Accept
我们使用Cookie来改善您的体验，点击接受
Powered by Discuz!
微信扫一扫关注公众号
长按识别二维码关注我们
Skip to main content
您的浏览器不支持JavaScript，请更换
返回顶部
""".strip().split("\n")
KEPT = """
版权所有者应当在三十日内提出。
公司于2020年取得京ICP备12345678号备案。
| 首页 | 新闻 | 登录 |
上一页
关闭窗口
查看更多
首页 | 新闻
体育 科技 教育
登录后点击首页上的按钮。
扫描二维码并付款
本文的版权声明写得很清楚，请看第二章。
编辑部的故事
1. 打开首页，点击登录，再点击注册。
- 位置：北京市海淀区
来源：新华社
作者：鲁迅
cookie 是服务器发给浏览器的一小段数据。
# Copyright 2020 The Authors. All rights reserved.
联系电话：010-12345678
""".strip().split("\n")


@pytest.mark.parametrize("line", CERTAIN)
def test_a_line_of_furniture_goes(line: str):
    assert remove_boilerplate(AROUND.format(line)) == AROUND.format("").replace("\n\n", "\n")


@pytest.mark.parametrize("line", KEPT)
def test_a_line_that_may_be_text_stays(line: str):
    assert remove_boilerplate(AROUND.format(line)) == AROUND.format(line)


def test_a_document_of_nothing_else_becomes_empty():
    assert remove_boilerplate("首页\n登录\n\n注册\n© 2020 某某网\n") == ""
    assert remove_boilerplate("\n".join(CERTAIN)) == ""


def test_lone_names_go_beside_furniture_and_at_the_edges_only():
    assert remove_boilerplate("正文。\n\n上一页\n下一页") == "正文。\n"
    assert remove_boilerplate("上一页\n转到前面。\n下一页\n转到后面。") == "上一页\n转到前面。\n下一页\n转到后面。"
    assert remove_boilerplate("标题\n上一页\n下一页\n正文。") == "标题\n上一页\n下一页\n正文。"
    assert remove_boilerplate("标题\n登录\n首页 | 新闻 | 登录\n正文。") == "标题\n正文。"


def test_programs_and_fences_keep_their_lines():
    fenced = "说明。\n```\n首页 | 新闻 | 登录\n© 2020 某某公司 版权所有\n```\n完。"
    assert remove_boilerplate(fenced) == fenced


def test_the_lines_around_keep_their_blank_lines():
    assert remove_boilerplate("一。\n\n责任编辑：张三\n\n二。\n\n三。") == "一。\n\n二。\n\n三。"
    assert remove_boilerplate("一。\n责任编辑：张三\n二。") == "一。\n二。"
