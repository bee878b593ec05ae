package main

import "reflect"

// EveryKey is the path of every key of config.toml, array tables without index.
func EveryKey() []string {
	var keys []string
	everyKey(reflect.TypeFor[Config](), "", func(key string) { keys = append(keys, key) })
	return keys
}

// DecodeConfig reads and checks a text without looking at any file. The Config
// is nil when the text is not TOML.
func DecodeConfig(text string) (*Config, error) {
	cfg, found, err := decodeConfig(text)
	if err != nil {
		return nil, err
	}
	cfg.check(found)
	return cfg, found.err()
}
