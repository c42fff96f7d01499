// Command gpu compares training steps and inference of the project's networks with
// PyTorch's on the same GPU. Both sides are processes of their own, which measure in
// turn. The script build makes it and what else a GPU machine needs, and run calls it
// there.
//
//	gpu compare [FLAGS]     both sides in turn
//	gpu profile [FLAGS]     what our operators take in a step of each case
//	gpu model [FLAGS] FILE  a predictor that has learnt nothing, for annotate.py to race
//
// -help behind these lists their flags. PYTHON names an interpreter that has
// PyTorch, torchvision and timm.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

// commands are those of the program. The last is our side of compare.
var commands = map[string]func(ctx context.Context, args []string) error{
	"compare":    compare,
	"profile":    profile,
	"model":      model,
	serveCommand: serve,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: gpu compare [FLAGS] | profile [FLAGS] | model [FLAGS] FILE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := commands[os.Args[1]](ctx, os.Args[2:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "gpu %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
