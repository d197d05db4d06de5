// Package native builds columns in the bytes of ClickHouse's Native format, the form of revision 0: no block information
// and no custom-serialization byte, as an INSERT over HTTP reads it.
//
// A column is appended to row by row, already in wire form, so that finishing a block is copying:
//
//	block   columns uvarint, rows uvarint, then each column
//	column  name string, type string, state, body          (string: length uvarint, bytes)
//	state   LowCardinality: version 1 as uint64; Array and Map: the states of their parts; others: nothing
//	body    fixed width: little-endian values              String: length uvarint and bytes, per value
//	        Nullable: one byte per value (1 = NULL), values
//	        Array, Map: end offset of each row as uint64, then the elements (Map: all keys, then all values)
//	        LowCardinality: flags uint64, dictionary size uint64, dictionary, count uint64, indexes; nothing for no values
//
// A Builder names the columns of a table, and Append encodes them into one Block. Columns keep their memory on Reset, so a
// warm builder allocates nothing where Append is given memory. Nothing here is safe for concurrent use, except a Block,
// which is never written after it was made.
//
// A Block is compressed while it is encoded, a frame at a time, and stays so on its way to disk and to ClickHouse:
//
//	frame   CityHash128 (version 1.0.2) of what follows, 16 bytes; method 0x82 (LZ4); size of method, sizes and data as
//	        uint32; size of the data uncompressed as uint32; data
//
// Source: ClickHouse's CompressedWriteBuffer and CompressedReadBuffer; the HTTP interface's parameter decompress.
//
// Runs, Sparse, Rare and Nested write rows like the last, or empty ones, when the block is made, and Repeats the rows of runs
// whose lengths are said beforehand, as those of one resource are.
//
// A row of a Map, an Array or a Nested that was begun can be dropped as long as it was not ended; other columns cannot take
// a row back. So append the lists of a record as they come, and its single values once the record is known to be good.
package native
