package expand

import (
	"regexp"
	"strings"

	"postern/mail"
)

// Placeholders of other programs are known only so that the refusal can say what
// to write here.
var (
	mailchimp = regexp.MustCompile(`\*\|([A-Za-z][^|*\n]{0,60})\|\*`)
	// %name%, %%name%%, $%name%$, <<Name>>, «Name» (with blanks it is a French quotation), ${name}, #{name}, *|이름|*
	strangers = regexp.MustCompile(`\$?%{1,2}([^\s%<>]{1,60})%{1,2}\$?|<<([^<>\n]{1,60})>>|«([^«»\s\p{Z}](?:[^«»\n]{0,60}[^«»\s\p{Z}])?)»|[$#]\{([^{}\n]{1,60})\}|\*\|([^|*\n]{1,60})\|\*`)
	// {{name}} that went through two programs which encode addresses
	encoded = regexp.MustCompile(`(?i)%(?:25)*7B%(?:25)*7B([^%\s]{1,60})%(?:25)*7D%(?:25)*7D`)
	// {{ name | default: "friend" }} of Liquid
	liquid = regexp.MustCompile(`^default\b\s*[:(]?\s*["'“‘]?(.*?)["'”’]?\)?$`)
)

// checkForeign refuses what readers would see of another program's placeholders:
// Mailchimp's always, the others where they name a known field; elsewhere they are
// what they look like.
func checkForeign(seen, where string, v Vocabulary) error {
	refuse := func(written, instead string) error {
		return mail.Refuse(550, "5.6.0", "in %s: %s is another program's placeholder; %s", where, clean(written), instead)
	}
	if !strings.ContainsAny(seen, "*%<$#") && !strings.Contains(seen, "«") {
		return nil // as nearly always: the patterns cost more than all else here
	}
	if m := mailchimp.FindStringSubmatch(seen); m != nil {
		return refuse(m[0], write(meant(m[1], v)))
	}
	for _, m := range encoded.FindAllStringSubmatch(seen, -1) {
		if field := meant(m[1], v); field != "" {
			return mail.Refuse(550, "5.6.0", "in %s: the placeholder %s was encoded by another program and would be read as it stands; type {{%s}} anew", where, m[0], field)
		}
	}
	for _, m := range strangers.FindAllStringSubmatch(seen, -1) {
		if field := meant(strings.Join(m[1:], ""), v); field != "" {
			return refuse(m[0], write(field))
		}
	}
	return nil
}

// foreign says what to write in the place of {{name|fallback}}, where that is
// another program's; "" where it is ours.
func foreign(name, fallback string, v Vocabulary) string {
	if strings.ContainsAny(name[:1], "#/^") || strings.EqualFold(name, "else") || strings.HasPrefix(strings.ToLower(name), "else ") {
		return "there are no conditions here; write {{Name|friend}} with what stands where no name is known"
	}
	if strings.ContainsAny(name[:1], ".&!>$=~*%") {
		return write(meant(strings.TrimLeft(name, ".&!>$=~*% "), v))
	}
	if m := liquid.FindStringSubmatch(fallback); m != nil && m[1] != "" {
		if field := meant(name, v); field != "" {
			return "write {{" + field + "|" + m[1] + "}}"
		}
	}
	if _, ours := v.Resolve(name); ours {
		return ""
	}
	if field := meant(name, v); field != "" {
		return write(field)
	}
	return ""
}

func write(field string) string {
	if field == "" {
		return "write {{Name}}, or {{Name|friend}} with what stands where no name is known"
	}
	return "write {{" + field + "}}"
}

// meant is our field for a name in another program: the same name, the part behind
// the last dot (contact.name), or one of the names that everybody uses; "" for none.
func meant(name string, v Vocabulary) string {
	if field, ok := v.Resolve(name); ok {
		return field
	}
	name = name[strings.LastIndexByte(name, '.')+1:]
	common := map[string]string{
		"fname": "Name", "firstname": "Name", "lname": "Name", "lastname": "Name", "fullname": "Name", "username": "Name", "recipientname": "Name",
		"emailaddress": FieldEmail, "recipientemail": FieldEmail, "list:name": FieldList, "listname": FieldList,
		"unsub": FieldUnsubscribe, "unsubscribeurl": FieldUnsubscribe, "unsubscribelink": FieldUnsubscribe, "수신거부": FieldUnsubscribe, "수신거부링크": FieldUnsubscribe,
		"updateprofile": FieldPreferences, "preferencesurl": FieldPreferences, "managepreferences": FieldPreferences,
	}
	if ours := common[strings.Map(dropJoin, foldName(name))]; ours != "" {
		name = ours
	}
	if field, ok := v.Resolve(name); ok {
		return field
	}
	return ""
}

func dropJoin(r rune) rune {
	if r == '_' || r == '-' {
		return -1
	}
	return r
}
