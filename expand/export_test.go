package expand

// WarningCodes are all codes of a Warning.
func WarningCodes() []string { return warningCodes() }
