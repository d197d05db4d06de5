// Package wal is a segmented append-only log of opaque entries in one directory: the place where what was acknowledged
// is kept until somebody has put it elsewhere. It knows nothing of what the entries mean.
//
// # Promises
//
//   - Append returns a Position only after the entry is on disk (fdatasync of the file, whose name was made durable
//     before). Such an entry is handed out by Scan and Read, in the order of the positions, until DeleteBefore.
//   - An entry whose Append failed is taken back. Only if the disk refuses even that, and the machine stops before
//     anything else is appended, may it appear later.
//   - Recovery cuts what was being written when the machine stopped, and nothing else. Every group of frames says how
//     far the log was durable when it was written; damage below that mark is never taken for a torn tail. What cannot
//     be read is counted, what is readable around it is delivered, and its file is set aside: renamed, never deleted.
//   - A finished segment that comes back after a crash is not taken for a live one: the checkpoint is durable before
//     the first file is removed.
//   - After a failed write or sync nothing of that group is acknowledged and the same pages are never synced again as
//     if that could succeed: the group is cut off and the log goes on in a new segment. A disk that recovers is used
//     again.
//
// What cannot be promised: damage to the very last group before a crash looks like a torn tail and is cut.
//
// A Log is safe for concurrent use. Two Logs, of one process or of two, cannot have the same directory. Inspect and
// Verify may read along.
//
// # Files
//
//	lock               locked while a Log is open
//	checkpoint         the first segment that is not finished; replaced by rename
//	0000000017.wal     a segment
//	0000000017.aside   a segment with damage, or that this version does not understand; never deleted
//	*.tmp              files in preparation; removed by recovery
//
// # Segments, version 1
//
// All numbers are little-endian, all checksums CRC-32C. A page has 4096 bytes. A segment is allocated at once and reads
// as zeros where nothing was written. Each group of frames begins on a page, so a page that holds something durable is
// never written again, and what a failing disk does to the page under its head cannot reach it.
//
//	page 0   ┌──────────────────────────────────────────────────────────┐
//	         │ segment header, zeros                                    │
//	page 1   ├──────────────────────────────────────────────────────────┤
//	         │ frame │ frame │ frame │ zeros                            │ a group: one write, one sync
//	page n   ├──────────────────────────────────────────────────────────┤
//	         │ frame │ zeros                                            │ the next group
//	page m   ├──────────────────────────────────────────────────────────┤
//	         │ seal, zeros                                              │ when the segment has ended
//	         └──────────────────────────────────────────────────────────┘
//
//	segment header, 64 bytes
//	 0  8  magic "hgwal\r\n\x00"
//	 8  4  version, 1
//	12  4  segment number
//	16 16  log id, random: the same in all files of a log
//	32  8  time it was made, ns since 1970
//	40 20  zero
//	60  4  checksum of bytes 0-59; all versions have magic, version and checksum in these places
//
//	frame, aligned to 8 bytes, 48 bytes and the payload, zeros up to the next multiple of 8
//	 0  4  kind: 0x5ea1f7a3 entry, 0x5ea1f7a4 seal; 0 where there is none
//	 4  4  payload length
//	 8  4  head length: so much of the payload has a checksum of its own
//	12  4  checksum of the head, of part of the log id and the head
//	16  4  checksum of the payload, the former continued over the rest of the payload
//	20  4  zero
//	24  8  durable: the position up to which the log was on disk when this group was written
//	32  8  sequence number: entries are numbered from 1 on without a gap; of a seal, the next entry's
//	40  4  time the group was written, s since 1970
//	44  4  checksum of part of the log id, the segment number, the frame's offset and bytes 0-43
//
//	payload of a seal, 48 bytes
//	 0  8  number of entries in the segment
//	 8  8  sequence number of the first of them
//	16  8  offset of the last of them
//	24  8  offset at which it ended
//	32  8  sum of their payload lengths
//	40  4  time of the first of them, s since 1970
//	44  4  time of the last of them, s since 1970
//
// The checksums bind a frame to its log, segment and offset: old or moved bytes are never valid.
//
//	checkpoint, 64 bytes
//	 0  8  magic "hgckp\r\n\x00"
//	 8  4  version, 1
//	12  4  number of the first segment that is not finished
//	16 16  log id
//	32 28  zero
//	60  4  checksum of bytes 0-59
//
// # Ends and tears
//
// The position "durable" of a segment's first frame is where the log ended before that segment: whatever lies between
// was not acknowledged. In other frames it is where the group before theirs ended. So for each place in the log that cannot be
// read, recovery knows whether a later group was written after that place had become durable (damage) or not (a tear).
//
// Recovery never writes behind what it found in a segment, except the seal: new entries go into a new segment.
package wal
