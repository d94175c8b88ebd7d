"""Names that the links of a page bear."""

from typing import Final

_PLAIN: Final = """
首页 主页 网站首页 返回首页 登录 登陆 注册 免费注册 立即注册 会员登录 用户登录 退出 忘记密码 找回密码 记住我
自动登录 关于我们 关于本站 联系我们 联系方式 帮助中心 网站地图 站点地图 网站导航 站内搜索 热门搜索 高级搜索
广告服务 广告合作 商务合作 招聘信息 诚聘英才 加入我们 人才招聘 友情链接 产品中心 公司简介 公司新闻 新闻中心
法律声明 免责声明 版权声明 隐私政策 隐私声明 隐私条款 服务条款 使用条款 用户协议 服务协议 意见反馈 用户反馈
投诉建议 在线客服 客服中心 在线留言 设为首页 加入收藏 收藏本站 打印本页 关闭窗口 发表评论 我要评论 网友评论
手机版 手机网 手机站 电脑版 触屏版 访问电脑版 下载客户端 购物车 个人中心 会员中心 上一页 下一页 上一篇 下一篇
上一章 下一章 尾页 末页 返回目录 返回列表 返回顶部 首頁 登入 註冊 關於我們 聯絡我們 下一頁 上一頁 網站地圖 Login
Register Sitemap
"""
_TOPICS: Final = """
新闻 资讯 财经 体育 娱乐 科技 军事 国际 国内 社会 视频 图片 论坛 博客 微博 微信 房产 汽车 教育 时尚 健康 旅游
游戏 读书 文化 专题 评论 滚动 直播 帮助 搜索 全部 更多 关闭 打印 收藏 分享 点赞 举报 回复 导航 留言 我的 客户端
繁体 简体 繁體中文 简体中文 English Help Home About Contact 新聞 搜尋 說明
"""
_HEADINGS: Final = """
相关阅读 相关推荐 热门推荐 猜你喜欢 为您推荐 推荐阅读 相关新闻 热门文章 最新文章 热门标签 查看更多 阅读更多
展开全文 阅读全文 加载更多 收起全文
"""

OF_PAGES: Final = frozenset((_PLAIN + _TOPICS).split())
"""What the links of a navigation bar are called."""

BESIDE_OTHERS: Final = frozenset((_PLAIN + _HEADINGS).split())
"""Names that, alone on a line and beside other furniture, are furniture too. Topics are not: 体育 may be a heading."""
