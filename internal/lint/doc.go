// Package lint holds the rules about the shape of the project as tests: the import
// table of docs/architecture.md, and what the client packages may show of the
// engine below them.
package lint
