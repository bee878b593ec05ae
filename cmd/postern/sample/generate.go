//go:build ignore

// This program writes campaign.eml, the sample campaign of `postern demo`, as
// Outlook writes mail. The same source gives the same octets. Run it here:
//
//	go run generate.go page.go banner.go
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log"
	"os"
	"strings"

	"golang.org/x/text/encoding/korean"
)

const (
	outer   = "----=_NextPart_000_0014_01DC5B9A.3C2F77A0"
	inner   = "----=_NextPart_001_0015_01DC5B9A.3C2F77A0"
	cid     = "image001.png@01DC5B9A.3B8D1E60"
	subject = "{{Name|고객}}님, 겨울 코트 프리뷰에 먼저 초대합니다"
)

func main() {
	var b bytes.Buffer
	header(&b)
	fmt.Fprintf(&b, "This is a multipart message in MIME format.\n\n--%s\n", outer)
	fmt.Fprintf(&b, "Content-Type: multipart/alternative;\n\tboundary=\"%s\"\n\n\n", inner)
	fmt.Fprintf(&b, "--%s\nContent-Type: text/plain;\n\tcharset=\"ks_c_5601-1987\"\nContent-Transfer-Encoding: base64\n\n%s\n", inner, wrapped(cp949(plainText)))
	fmt.Fprintf(&b, "--%s\nContent-Type: text/html;\n\tcharset=\"ks_c_5601-1987\"\nContent-Transfer-Encoding: quoted-printable\n\n", inner)
	b.WriteString(quoted(cp949(htmlText())))
	fmt.Fprintf(&b, "\n--%s--\n\n--%s\n", inner, outer)
	fmt.Fprintf(&b, "Content-Type: image/png;\n\tname=\"image001.png\"\nContent-Transfer-Encoding: base64\nContent-ID: <%s>\n\n%s\n", cid, wrapped(banner()))
	fmt.Fprintf(&b, "--%s--\n\n", outer)
	out := bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte("\r\n"))
	if err := os.WriteFile("campaign.eml", out, 0o644); err != nil {
		log.Fatal(err)
	}
}

func header(b *bytes.Buffer) {
	fmt.Fprintf(b, "From: %s <marketer@example.com>\n", word("모두의옷장 마케팅팀"))
	fmt.Fprintf(b, "To: <promo@lists.example.com>\n")
	fmt.Fprintf(b, "Subject: %s\n\t%s\n\t%s\n", word("{{Na"), word("me|고객}}님, 겨울 코트 "), word("프리뷰에 먼저 초대합니다"))
	b.WriteString(`Date: Fri, 20 Nov 2026 10:12:31 +0900
Message-ID: <000801dc5b9a$3c2f9eb0$b48edc10$@example.com>
MIME-Version: 1.0
Content-Type: multipart/related;
	type="multipart/alternative";
	boundary="` + outer + `"
X-Mailer: Microsoft Outlook 16.0
X-Priority: 3
X-MS-Has-Attach: yes
X-MS-TNEF-Correlator:
Thread-Index: AQJ0d2ludGVyLWNvYXQtcHJldmlldwHcW5o8L5zQ
Thread-Topic: ` + word("겨울 코트 프리뷰") + `
Content-Language: ko
X-OriginatorOrg: example.com
x-originating-ip: [203.0.113.24]

`)
}

func cp949(s string) []byte {
	b, err := korean.EUCKR.NewEncoder().Bytes([]byte(strings.ReplaceAll(s, "\n", "\r\n")))
	if err != nil {
		log.Fatal(err)
	}
	return b
}

func word(s string) string {
	return "=?ks_c_5601-1987?B?" + base64.StdEncoding.EncodeToString(cp949(s)) + "?="
}

func wrapped(b []byte) string {
	s := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for len(s) > 76 {
		out.WriteString(s[:76] + "\n")
		s = s[76:]
	}
	return out.String() + s + "\n"
}

// quoted breaks lines where they are full, in the middle of a placeholder too, as
// Outlook does.
func quoted(b []byte) string {
	var out strings.Builder
	col := 0
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\r' && i+1 < len(b) && b[i+1] == '\n' {
			out.WriteByte('\n')
			col, i = 0, i+1
			continue
		}
		s := string(c)
		if c == '=' || c < ' ' || c >= 0x7f {
			s = fmt.Sprintf("=%02X", c)
		}
		if col+len(s) > 75 {
			out.WriteString("=\n")
			col = 0
		}
		out.WriteString(s)
		col += len(s)
	}
	return out.String()
}

const plainText = `{{Name|고객}}님, 안녕하세요.

모두의옷장이 올겨울 코트 컬렉션을 한발 먼저 보여 드립니다.
11월 27일(금) 오전 10시부터 사흘 동안, 메일을 받으신 분만 보실 수 있습니다.

  1. 핸드메이드 캐시미어 롱 코트   298,000원 → 228,000원
  2. 헤링본 더블 코트              219,000원 → 169,000원
  3. 라이트 구스 다운 점퍼         189,000원 → 139,000원

프리뷰 열기 <https://shop.example.com/preview?who=%7b%7bEmail%7d%7d>

{{Name|고객}}님께 꼭 맞는 한 벌을 찾으시길 바랍니다.

모두의옷장 드림
서울특별시 성동구 연무장길 00, 3층
고객센터 02-0000-0000 (평일 10:00~17:00)

수신거부 <http://{{Unsubscribe}}>
`
