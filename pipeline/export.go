package pipeline

import (
	"context"
	"fmt"
	"strings"

	"github.com/surrogaze/surrogaze/storage"
)

// export writes the data set in the formats that the configuration names.
func (p *Pipeline) export(ctx context.Context, exports []export, data *annotatedData) error {
	events := p.events.of(StageExport)
	var formats []string
	for _, e := range exports {
		if err := p.exportTo(ctx, e, data, events); err != nil {
			return fmt.Errorf("%s: %w", e.to, err)
		}
		formats = append(formats, e.to)
	}
	if len(formats) == 0 {
		formats = []string{"none wanted"}
	}
	events.end(strings.Join(formats, ", "))
	return nil
}

func (p *Pipeline) exportTo(ctx context.Context, e export, data *annotatedData, events *stageEvents) error {
	exporter, err := storage.NewExporter(e.to, p.workers)
	if err != nil {
		return err
	}
	a, err := p.artefact(ctx, e.recipe, func(d draft) error {
		events.start(e.to)
		summary, err := exporter.Export(ctx, data.set, d.Path(e.to))
		if err != nil {
			return err
		}
		return writeJSON(d.Path(summaryName), summary)
	})
	if err != nil {
		return err
	}
	return p.place(a.Path(e.to), exportName, e.to)
}
