package directory

import "encoding/json"

// CollectFields adds to fields (attribute name to "string", "number" or "bool")
// what the users have. Lists, maps and null are no fields: no placeholder can
// show them; [SuppressedAttribute] is no person's. A field that is met with two
// types is a string.
func CollectFields(fields map[string]string, users []User) {
	for i := range users {
		for name, v := range users[i].Attributes {
			if name == SuppressedAttribute {
				continue
			}
			switch v.(type) {
			case string:
				addField(fields, name, "string")
			case json.Number:
				addField(fields, name, "number")
			case bool:
				addField(fields, name, "bool")
			}
		}
	}
}

// addField says whether that changed anything.
func addField(fields map[string]string, name, typ string) bool {
	old, known := fields[name]
	if known && (old == typ || old == "string") {
		return false
	}
	if known {
		typ = "string"
	}
	fields[name] = typ
	return true
}
