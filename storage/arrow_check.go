package storage

import (
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	flatbuffers "github.com/google/flatbuffers/go"
)

// The Arrow library allocates by the lengths that the headers of IPC messages
// claim. These checks hold them against the size of the header first. The slots are
// those of the tables in Message.fbs, Schema.fbs and File.fbs; what lies outside the
// header makes the flatbuffers library panic, which the callers guard against.

// checkMessage checks the header of a message, all but the schema's types.
func checkMessage(message flatbuffers.Table) error {
	const typeSlot, headerSlot, dataSlot = 6, 8, 6
	t, ok := child(message, headerSlot)
	if !ok {
		return errors.New("a message without header")
	}
	switch ipc.MessageType(message.GetByteSlot(typeSlot, 0)) {
	case ipc.MessageSchema:
		return checkSchema(t)
	case ipc.MessageRecordBatch:
		return checkBatch(t)
	case ipc.MessageDictionaryBatch:
		batch, ok := child(t, dataSlot)
		if !ok {
			return errors.New("a dictionary without values")
		}
		return checkBatch(batch)
	}
	return nil
}

// checkBatch checks a RecordBatch.
func checkBatch(batch flatbuffers.Table) error {
	const lengthSlot, buffersSlot, countsSlot = 4, 8, 12
	if n := batch.GetInt64Slot(lengthSlot, 0); n < 0 {
		return fmt.Errorf("a record batch of %d rows", n)
	}
	_, buffers, err := vector(batch, buffersSlot, 16)
	if err != nil {
		return err
	}
	start, n, err := vector(batch, countsSlot, 8)
	if err != nil {
		return err
	}
	for i := range n {
		if c := batch.GetInt64(start + flatbuffers.UOffsetT(8*i)); c < 0 || c > int64(buffers) {
			return fmt.Errorf("a column of %d blocks, but there are %d in all", c, buffers)
		}
	}
	return nil
}

// checkSchema checks a Schema and the fields in it.
func checkSchema(schema flatbuffers.Table) error {
	const fieldsSlot, metadataSlot = 6, 8
	if _, _, err := vector(schema, metadataSlot, 4); err != nil {
		return err
	}
	budget := len(schema.Bytes) / 8 // more fields than a header can hold without holding one twice
	return checkFields(schema, fieldsSlot, &budget)
}

func checkFields(parent flatbuffers.Table, slot flatbuffers.VOffsetT, budget *int) error {
	const childrenSlot, metadataSlot = 14, 16
	start, n, err := vector(parent, slot, 4)
	if err != nil {
		return err
	}
	if *budget -= n; *budget < 0 {
		return errors.New("more columns than the header can hold")
	}
	for i := range n {
		field := flatbuffers.Table{Bytes: parent.Bytes, Pos: parent.Indirect(start + flatbuffers.UOffsetT(4*i))}
		if _, _, err := vector(field, metadataSlot, 4); err != nil {
			return err
		}
		if err := checkFields(field, childrenSlot, budget); err != nil {
			return err
		}
	}
	return nil
}

// child is the table in a slot.
func child(t flatbuffers.Table, slot flatbuffers.VOffsetT) (flatbuffers.Table, bool) {
	o := t.Offset(slot)
	if o == 0 {
		return t, false
	}
	return flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(t.Pos + flatbuffers.UOffsetT(o))}, true
}

// vector is where the elements in a slot begin and how many there are.
func vector(t flatbuffers.Table, slot flatbuffers.VOffsetT, size int) (start flatbuffers.UOffsetT, n int, err error) {
	o := flatbuffers.UOffsetT(t.Offset(slot))
	if o == 0 {
		return 0, 0, nil
	}
	start, n = t.Vector(o), t.VectorLen(o)
	if int64(start)+int64(n)*int64(size) > int64(len(t.Bytes)) {
		return 0, 0, fmt.Errorf("a list of %d elements in a header of %d bytes", n, len(t.Bytes))
	}
	return start, n, nil
}
