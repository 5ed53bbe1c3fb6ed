// Package render checks the files under deploy/ with the libraries of those who read them: Kubernetes' own API types,
// HashiCorp's parser of HCL, a TOML reader.
//
// It is a module of its own, so that those libraries never reach the product's go.mod, and it imports nothing of the
// product: it reads what is shipped. It promises that every field is known to its reader and that the parts refer to each
// other; not that a cluster of Kubernetes takes them, which needs one.
package render
