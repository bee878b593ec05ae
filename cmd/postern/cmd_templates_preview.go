package main

import (
	"fmt"
	"mime"
	"strings"

	"postern/mail"
)

type templatesPreviewCmd struct {
	ID   string `arg:"" help:"The template."`
	List string `help:"The list whose name, language and footer it has; else the first one that uses the template, else the first." placeholder:"ID"`
	Mail string `help:"A mail as mail programs save it (.eml); - is stdin. Else a sample text." placeholder:"FILE.eml"`
	User string `help:"Show this user's copy; else one with sample values." placeholder:"EMAIL"`
	Out  string `help:"Write the copy to this file instead of stdout; an existing file is never overwritten." placeholder:"FILE"`
	JSON bool   `name:"json" help:"Print one JSON object instead of the copy."`
}

func (templatesPreviewCmd) Help() string {
	return `Sends nothing and stores nothing. It is ` + "`postern preview`" + ` for who has a template and no mail yet: the copy, which any mail program opens, goes to stdout, and what it is made of to stderr.

Examples:

  postern templates preview winter > winter.eml
  postern templates preview winter --list promo --out winter.eml
  postern templates preview winter --mail news.eml --user min@example.net > copy.eml`
}

func (c templatesPreviewCmd) Run(s *session) error {
	cfg, err := LoadOffline(s.config)
	if err != nil {
		return err
	}
	list, err := c.listOf(cfg)
	if err != nil {
		return err
	}
	of := previewCmd{File: c.Mail, User: c.User, Out: c.Out, JSON: c.JSON}
	if err := of.checkOut(); err != nil {
		return err
	}
	p := &previewer{cfg: cfg, list: list, template: c.ID, file: "a mail in this template"}
	raw := cfg.sampleMail(list)
	if c.Mail != "" {
		if raw, p.file, err = of.read(s, cfg); err != nil {
			return err
		}
	}
	return of.show(s, p, raw)
}

// listOf is the list of the preview.
func (c templatesPreviewCmd) listOf(cfg *Config) (*ListConfig, error) {
	if c.List != "" {
		return cfg.listCalled(c.List)
	}
	for i := range cfg.Lists {
		if cfg.Lists[i].Template == c.ID {
			return &cfg.Lists[i], nil
		}
	}
	if len(cfg.Lists) == 0 {
		return nil, fmt.Errorf("a preview wants a list, and the configuration has no [[list]]")
	}
	return &cfg.Lists[0], nil
}

// sampleMail is what somebody who may send to the list might write.
func (c *Config) sampleMail(l *ListConfig) []byte {
	subject, body := "Warm coats for cold days", sampleEnglish
	if l.Language == "ko" {
		subject, body = "추운 날을 위한 따뜻한 코트", sampleKorean
	}
	return endLines([]byte("From: " + string(c.sampleFrom(l.ID)) + "\nSubject: " + mime.BEncoding.Encode("utf-8", subject) +
		"\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + body))
}

const (
	sampleEnglish = `Dear {{Name|friend}},

this is a sample text, so that you see what a mail looks like in this template. What you write stands here, with its paragraphs, pictures and links.

The new coats are in the shop now: https://shop.example.com/winter

See you soon,
your shop
`
	sampleKorean = `{{Name|고객}}님, 안녕하세요.

템플릿에 담긴 메일이 어떻게 보이는지 확인하실 수 있는 견본입니다. 직접 쓰신 글과 그림, 링크가 이 자리에 들어갑니다.

올겨울 새 코트를 지금 매장에서 만나 보세요: https://shop.example.com/winter

감사합니다.
모두의옷장 드림
`
)

// sampleFrom is an author whom the configuration lets send to the list; where there
// is none the preview says so.
func (c *Config) sampleFrom(list string) mail.Address {
	for _, d := range c.DKIM {
		for _, name := range []string{"marketer", "news"} {
			if from := mail.Address(name + "@" + d.Domain); c.whoCanSend(list, from) != nil {
				return from
			}
		}
	}
	for _, a := range c.SMTP.Accounts {
		for _, pattern := range a.SendAs {
			if from := mail.Address(pattern); !strings.Contains(pattern, "*") && c.whoCanSend(list, from) != nil {
				return from
			}
		}
	}
	if len(c.DKIM) > 0 {
		return mail.Address("marketer@" + c.DKIM[0].Domain)
	}
	return "marketer@example.com"
}
