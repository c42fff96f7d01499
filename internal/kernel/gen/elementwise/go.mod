module github.com/surrogaze/surrogaze/internal/kernel/gen/elementwise

go 1.26.0

require github.com/mmcloughlin/avo v0.6.0 // indirect
