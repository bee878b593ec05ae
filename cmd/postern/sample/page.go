//go:build ignore

package main

import (
	"fmt"
	"strings"
)

// htmlText is the mail as Word writes HTML: a style sheet in a comment, conditional
// comments, MsoNormal, o:p, spelling marks within a placeholder.
func htmlText() string {
	var b strings.Builder
	b.WriteString(pageHead)
	para := func(s string) { fmt.Fprintf(&b, "<p class=MsoNormal>%s<o:p></o:p></p>\n\n", s) }
	para(`<span lang=EN-US style='font-size:11.0pt'>{{<span class=SpellE>Na</span></span><span lang=EN-US style='font-size:11.0pt'>me|</span><span style='font-size:11.0pt'>고객<span lang=EN-US>}}</span>님<span lang=EN-US>,</span> 안녕하세요<span lang=EN-US>.</span></span>`)
	para(`<span lang=EN-US><img width=600 height=220 style='width:6.25in;height:2.2916in' id="그림_x0020_1" src="cid:` + cid + `" alt="{{Name|고객}}님을 위한 겨울 코트 프리뷰"></span>`)
	para(`모두의옷장이 <b>올겨울 코트 컬렉션</b>을 한발 먼저 보여 드립니다<span lang=EN-US>.&nbsp;11</span>월<span lang=EN-US> 27</span>일<span lang=EN-US>(</span>금<span lang=EN-US>)</span> 오전<span lang=EN-US> 10</span>시부터 사흘 동안<span lang=EN-US>,</span> 메일을 받으신 분만 보실 수 있습니다<span lang=EN-US>.</span>`)
	b.WriteString("<table class=MsoTableGrid border=1 cellspacing=0 cellpadding=0 style='border-collapse:collapse;border:none'>\n")
	for _, row := range [][3]string{{"상품", "정가", "프리뷰가"}, {"핸드메이드 캐시미어 롱 코트", "298,000", "228,000"}, {"헤링본 더블 코트", "219,000", "169,000"}, {"라이트 구스 다운 점퍼", "189,000", "139,000"}} {
		b.WriteString(" <tr>\n")
		for _, cell := range row {
			fmt.Fprintf(&b, "  <td width=200 valign=top style='width:150.0pt;border:solid #BFBFBF 1.0pt;padding:0cm 5.4pt 0cm 5.4pt'>\n  <p class=MsoNormal>%s<span lang=EN-US><o:p></o:p></span></p>\n  </td>\n", cell)
		}
		b.WriteString(" </tr>\n")
	}
	b.WriteString("</table>\n\n")
	para(`<span lang=EN-US>&nbsp;</span>`)
	para(`<a href="https://shop.example.com/preview?who=%7b%7bEmail%7d%7d"><b><span style='color:#B84A3E'>프리뷰 열기</span></b></a>`)
	para(`<span lang=EN-US>{{Name|</span>고객<span lang=EN-US>}}</span>님께 꼭 맞는 한 벌을 찾으시길 바랍니다<span lang=EN-US>.</span>`)
	para(`모두의옷장 드림<span lang=EN-US><br></span>서울특별시 성동구 연무장길<span lang=EN-US> 00, 3</span>층<span lang=EN-US><br></span>고객센터<span lang=EN-US> 02-0000-0000 (</span>평일<span lang=EN-US> 10:00~17:00)</span>`)
	para(`<a href="http://%7b%7bUnsubscribe%7d%7d"><span style='font-size:9.0pt;color:gray'>수신거부</span></a>`)
	b.WriteString("</div>\n\n</body>\n\n</html>\n")
	return b.String()
}

const pageHead = `<html xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:schemas-microsoft-com:office:office" xmlns:w="urn:schemas-microsoft-com:office:word" xmlns:m="http://schemas.microsoft.com/office/2004/12/omml" xmlns="http://www.w3.org/TR/REC-html40">

<head>
<meta http-equiv=Content-Type content="text/html; charset=ks_c_5601-1987">
<meta name=Generator content="Microsoft Word 15 (filtered medium)">
<!--[if !mso]><style>v\:* {behavior:url(#default#VML);}
o\:* {behavior:url(#default#VML);}
w\:* {behavior:url(#default#VML);}
.shape {behavior:url(#default#VML);}
</style><![endif]--><style><!--
/* Font Definitions */
@font-face
	{font-family:"Cambria Math";
	panose-1:2 4 5 3 5 4 6 3 2 4;}
@font-face
	{font-family:"맑은 고딕";
	panose-1:2 11 5 3 2 0 0 2 0 4;}
@font-face
	{font-family:"\@맑은 고딕";}
/* Style Definitions */
p.MsoNormal, li.MsoNormal, div.MsoNormal
	{margin:0cm;
	text-align:justify;
	text-justify:inter-ideograph;
	text-autospace:none;
	word-break:break-hangul;
	font-size:10.0pt;
	font-family:"맑은 고딕";
	mso-ligatures:standardcontextual;
	mso-fareast-language:KO;}
a:link, span.MsoHyperlink
	{mso-style-priority:99;
	color:#0563C1;
	text-decoration:underline;}
span.SpellE
	{mso-style-name:"";
	mso-spl-e:yes;}
.MsoChpDefault
	{mso-style-type:export-only;}
@page WordSection1
	{size:612.0pt 792.0pt;
	margin:3.0cm 72.0pt 72.0pt 72.0pt;}
div.WordSection1
	{page:WordSection1;}
--></style><!--[if gte mso 9]><xml>
<o:shapedefaults v:ext="edit" spidmax="1026" />
</xml><![endif]--><!--[if gte mso 9]><xml>
<o:shapelayout v:ext="edit">
<o:idmap v:ext="edit" data="1" />
</o:shapelayout></xml><![endif]-->
</head>

<body lang=KO link="#0563C1" vlink="#954F72" style='word-wrap:break-word'>

<div class=WordSection1>

`
