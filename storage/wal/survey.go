package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// A survey is what a log's directory holds. Taking one alters nothing.
type survey struct {
	id         logID
	checkpoint uint32   // the first segment that is not finished
	ckptErr    error    // why the checkpoint could not be read; os.ErrNotExist when there is none
	found      []*found // segments that are not finished, in order
	finished   []string // files of finished segments that are to be removed
	tmp        []string // files that were in preparation
	aside      []string // other files that were set aside before
	number     uint32   // the highest segment number seen
	seq        uint64   // of the next entry
	durable    Position // where the log ended
}

// take surveys dir. With sync it sees to it that what it finds in segments that were being written is on disk.
func take(fsys faultfs.FS, dir string, sync bool) (*survey, error) {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &survey{seq: 1}
	if err := s.readCheckpoint(fsys, dir); err != nil {
		return nil, err
	}
	s.sort(names)
	for _, f := range s.found {
		if err := f.load(fsys, dir); err != nil {
			return nil, fmt.Errorf("segment %s: %w", f.file, err)
		}
	}
	if s.ckptErr != nil {
		s.adoptID()
	}
	s.judgeHeaders()
	if err := s.findEnds(fsys, dir, sync); err != nil {
		return nil, err
	}
	s.count()
	return s, nil
}

// readCheckpoint reads the log's id and the first segment that is not finished. A checkpoint that cannot be
// understood is noted; one that cannot be read, or is newer, is an error.
func (s *survey) readCheckpoint(fsys faultfs.FS, dir string) error {
	f, err := fsys.OpenFile(path.Join(dir, checkpointName), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		s.ckptErr = err
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	var b [fileHeaderBytes]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && err != io.EOF {
		return err
	}
	s.checkpoint, s.id, s.ckptErr = parseFileHeader(b[:], checkpointMagic)
	if errors.Is(s.ckptErr, ErrVersion) {
		return fmt.Errorf("checkpoint: %w", s.ckptErr)
	}
	s.number = s.checkpoint
	return nil
}

// sort puts each file name where it belongs.
func (s *survey) sort(names []string) {
	for _, name := range names {
		n, suffix, ok := parseName(name)
		switch {
		case !ok && strings.HasSuffix(name, tmpSuffix):
			s.tmp = append(s.tmp, name)
			continue
		case !ok:
			continue
		}
		s.number = max(s.number, n)
		switch {
		case suffix == tmpSuffix:
			s.tmp = append(s.tmp, name)
		case suffix == segmentSuffix && n < s.checkpoint:
			s.finished = append(s.finished, name)
		case suffix == segmentSuffix:
			s.found = append(s.found, &found{segment: segment{number: n, file: name}})
		case suffix == asideSuffix && n >= s.checkpoint && !slices.Contains(names, fileName(n, segmentSuffix)):
			s.found = append(s.found, &found{segment: segment{number: n, file: name, aside: true}})
		default:
			s.aside = append(s.aside, name)
		}
	}
	slices.SortFunc(s.found, func(a, b *found) int { return int(int64(a.number) - int64(b.number)) })
}

// adoptID takes the log's id from the newest segment, for want of a checkpoint.
func (s *survey) adoptID() {
	for _, f := range slices.Backward(s.found) {
		if f.err == nil && f.header == nil {
			s.id = f.made
			return
		}
	}
}

func (s *survey) judgeHeaders() {
	for _, f := range s.found {
		if f.err == nil && f.header == nil && f.made != s.id {
			f.err = errors.New("header: is of another log")
		}
	}
}

// findEnds determines where each segment ends and what of it is damaged, from the last one to the first: each knows
// where the log ended before it.
func (s *survey) findEnds(fsys faultfs.FS, dir string, sync bool) error {
	before := unknown // where the log ended before the segments that were looked at
	for _, f := range slices.Backward(s.found) {
		if f.err != nil {
			continue
		}
		if err := f.findEnd(fsys, dir, sync, &s.id, before); err != nil {
			return fmt.Errorf("segment %s: %w", f.file, err)
		}
		if f.frames {
			before = f.before
		} else if f.entries > 0 {
			before = at(f.number, firstOffset) // all before it was durable, who knows up to where
		}
	}
	return nil
}

// count checks the sequence of entries across segments and finds where the log goes on.
func (s *survey) count() {
	var expected uint64
	var prev *found
	for _, f := range s.found {
		if f.err != nil {
			s.durable = at(f.number+1, 0) // behind whatever is in it
		}
		if f.err != nil || f.entries == 0 {
			continue
		}
		if expected != 0 && f.first > expected {
			f.lost += f.first - expected
			if prev != nil && !prev.sealed && prev.damage == nil {
				prev.damage = fmt.Errorf("%d entries are missing at its end: %w", f.first-expected, ErrCorrupt)
			}
		}
		expected, prev = f.next, f
		s.seq, s.durable = max(s.seq, f.next), at(f.number, f.end)
	}
}
