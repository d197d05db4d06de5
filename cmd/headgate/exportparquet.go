package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxFooter bounds the footer of a Parquet file: some hundred bytes for each column of each row group.
const maxFooter = 256 << 20

var errParquet = errors.New("not a whole Parquet file")

// parquetRows reads the number of rows from the footer of a Parquet file of that size: FileMetaData in Thrift's compact protocol,
// whose field 3 is num_rows, then its length and "PAR1".
func parquetRows(file io.ReaderAt, size int64) (int64, error) {
	var end [8]byte
	if size < 12 {
		return 0, errParquet
	}
	if _, err := file.ReadAt(end[:], size-8); err != nil {
		return 0, err
	}
	length := int64(binary.LittleEndian.Uint32(end[:]))
	if string(end[4:]) != "PAR1" || length > size-12 || length > maxFooter {
		return 0, errParquet
	}
	footer := make([]byte, length)
	if _, err := file.ReadAt(footer, size-8-length); err != nil {
		return 0, err
	}
	t := thrift{footer}
	for id := int64(0); ; {
		kind, next, err := t.field(id)
		if err != nil || kind == 0 {
			return 0, fmt.Errorf("%w: its footer has no number of rows", errParquet)
		}
		if id = next; id == 3 && kind == thriftI64 {
			n, err := t.varint()
			return int64(n>>1) ^ -int64(n&1), err
		}
		if err := t.skip(kind, 0); err != nil {
			return 0, err
		}
	}
}

// Types of the compact protocol.
const (
	thriftTrue = iota + 1
	thriftFalse
	thriftByte
	thriftI16
	thriftI32
	thriftI64
	thriftDouble
	thriftBinary
	thriftList
	thriftSet
	thriftMap
	thriftStruct
)

// thrift reads what is left of a message.
type thrift struct{ b []byte }

func (t *thrift) take(n uint64) error {
	if n > uint64(len(t.b)) {
		return errParquet
	}
	t.b = t.b[n:]
	return nil
}

func (t *thrift) varint() (uint64, error) {
	v, n := binary.Uvarint(t.b)
	if n <= 0 {
		return 0, errParquet
	}
	t.b = t.b[n:]
	return v, nil
}

// field reads the head of a field that follows the one with the id last; kind 0 ends a struct.
func (t *thrift) field(last int64) (kind byte, id int64, err error) {
	if len(t.b) == 0 {
		return 0, 0, errParquet
	}
	head := t.b[0]
	t.b = t.b[1:]
	if head>>4 != 0 || head == 0 {
		return head & 15, last + int64(head>>4), nil
	}
	n, err := t.varint()
	return head & 15, int64(n>>1) ^ -int64(n&1), err
}

// skip reads over a value. depth bounds how far values are within values.
func (t *thrift) skip(kind byte, depth int) error {
	if depth > 16 {
		return errParquet
	}
	switch kind {
	case thriftTrue, thriftFalse:
		return nil
	case thriftByte:
		return t.take(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := t.varint()
		return err
	case thriftDouble:
		return t.take(8)
	case thriftBinary:
		n, err := t.varint()
		if err != nil {
			return err
		}
		return t.take(n)
	case thriftList, thriftSet:
		return t.skipList(depth)
	case thriftStruct:
		for id := int64(0); ; {
			kind, next, err := t.field(id)
			if err != nil || kind == 0 {
				return err
			}
			if err := t.skip(kind, depth+1); err != nil {
				return err
			}
			id = next
		}
	}
	return errParquet // maps are in no footer
}

func (t *thrift) skipList(depth int) error {
	if len(t.b) == 0 {
		return errParquet
	}
	head := t.b[0]
	t.b = t.b[1:]
	n := uint64(head >> 4)
	if n == 15 {
		var err error
		if n, err = t.varint(); err != nil {
			return err
		}
	}
	if kind := head & 15; kind == thriftTrue || kind == thriftFalse {
		return t.take(n) // a byte each, within a list
	}
	for range n {
		if err := t.skip(head&15, depth+1); err != nil {
			return err
		}
	}
	return nil
}
