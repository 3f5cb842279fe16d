//! The directory of a zip archive whose entries are stored as they are, as `torch.save` writes it (PKWARE APPNOTE 6.3).

use super::Bytes;

/// The largest directory, in bytes, and the most entries.
const MAX_DIRECTORY: u64 = 64 << 20;
/// The end record and the longest comment after it.
const MAX_END: usize = 22 + 0xffff;

/// A stored entry: where its bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: String,
    pub offset: u64,
    pub size: u64,
}

/// All entries, checked to lie inside the file and not to overlap.
///
/// Fails with the end of a sentence.
pub(super) fn entries(file: &Bytes) -> Result<Vec<Entry>, String> {
    let (n_entries, offset, size) = directory(file)?;
    if size > MAX_DIRECTORY || offset.checked_add(size).is_none_or(|end| end > file.len() as u64) {
        return Err(format!("has a zip directory of {size} bytes at {offset} of {}", file.len()));
    }
    let directory = read(file, offset, size as usize)?;
    let mut rest = directory.as_slice();
    let mut entries = Vec::new();
    for _ in 0..n_entries.min(size / 46) {
        entries.push(entry(&mut rest, file)?);
    }
    if entries.len() as u64 != n_entries {
        return Err(format!("says that it has {n_entries} zip entries, but its directory has {size} bytes"));
    }
    // Numbers that lie over one another, or twice under one name, are a trap.
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by_key(|entry| (entry.offset, entry.size));
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].size > pair[1].offset {
            return Err(format!("has the zip entries {:?} and {:?} over one another", pair[0].name, pair[1].name));
        }
    }
    order.sort_by(|a, b| a.name.cmp(&b.name));
    match order.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(format!("has the zip entry {:?} twice", pair[0].name)),
        None => Ok(entries),
    }
}

/// Number of entries, offset and size of the directory, from the end record or its 64-bit form.
fn directory(file: &Bytes) -> Result<(u64, u64, u64), String> {
    let tail_len = file.len().min(MAX_END);
    let tail_start = (file.len() - tail_len) as u64;
    let tail = read(file, tail_start, tail_len)?;
    let at = (0..tail_len.saturating_sub(21)).rev().find(|at| tail[*at..].starts_with(b"PK\x05\x06"));
    let at = at.ok_or("is a zip archive without an end; it is cut off")?;
    let end = &tail[at..];
    let short = (number(end, 10, 2), number(end, 16, 4), number(end, 12, 4));
    let locator_at = tail_start + at as u64;
    let is_long = short.0 == 0xffff || short.1 == 0xffff_ffff || short.2 == 0xffff_ffff;
    if !is_long || locator_at < 20 {
        return Ok(short);
    }
    let locator = read(file, locator_at - 20, 20)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(short);
    }
    let record_at = number(&locator, 8, 8);
    if record_at > locator_at.saturating_sub(76) {
        return Err("has a 64-bit zip end outside itself".to_owned());
    }
    let record = read(file, record_at, 56)?;
    if !record.starts_with(b"PK\x06\x06") {
        return Err("has no 64-bit zip end where it says".to_owned());
    }
    Ok((number(&record, 32, 8), number(&record, 48, 8), number(&record, 40, 8)))
}

/// One entry of the directory.
fn entry(rest: &mut &[u8], file: &Bytes) -> Result<Entry, String> {
    let Some((head, after)) = rest.split_at_checked(46).filter(|(head, _)| head.starts_with(b"PK\x01\x02")) else {
        return Err("has a damaged zip directory".to_owned());
    };
    let lengths = [28, 30, 32].map(|at| number(head, at, 2) as usize); // name, extra, comment
    let Some((variable, after)) = after.split_at_checked(lengths.iter().sum()) else {
        return Err("has a zip directory that is cut off".to_owned());
    };
    *rest = after;
    let name = String::from_utf8_lossy(&variable[..lengths[0]]).into_owned();
    if number(head, 10, 2) != 0 || number(head, 8, 2) & 1 != 0 {
        return Err(format!(
            "has the zip entry {name:?} compressed or encrypted; torch.save stores entries as they are"
        ));
    }
    let (mut stored, mut size, mut header_at) = (number(head, 20, 4), number(head, 24, 4), number(head, 42, 4));
    long_sizes(&variable[lengths[0]..][..lengths[1]], &mut [&mut size, &mut stored, &mut header_at]);
    if size != stored {
        return Err(format!("says that the stored zip entry {name:?} has {size} bytes in {stored}"));
    }
    // The local header repeats name and extra field; the bytes follow it.
    let outside =
        || format!("has the zip entry {name:?} of {size} bytes at {header_at} outside its {} bytes", file.len());
    if header_at.checked_add(30).is_none_or(|end| end > file.len() as u64) {
        return Err(outside());
    }
    let header = read(file, header_at, 30)?;
    if !header.starts_with(b"PK\x03\x04") {
        return Err(format!("has no zip entry {name:?} at {header_at}"));
    }
    let offset = header_at + 30 + number(&header, 26, 2) + number(&header, 28, 2);
    if offset.checked_add(size).is_none_or(|end| end > file.len() as u64) {
        return Err(outside());
    }
    Ok(Entry { name, offset, size })
}

/// The extra field 1 holds, in this order, those of the numbers that do not fit in 32 bits.
fn long_sizes(mut extra: &[u8], numbers: &mut [&mut u64]) {
    while extra.len() >= 4 {
        let (id, len) = (number(extra, 0, 2), number(extra, 2, 2) as usize);
        let Some(mut field) = extra.get(4..4 + len) else { return };
        if id == 1 {
            for target in numbers.iter_mut().filter(|target| ***target == 0xffff_ffff) {
                let Some((bytes, rest)) = field.split_at_checked(8) else { return };
                **target = number(bytes, 0, 8);
                field = rest;
            }
        }
        extra = &extra[4 + len..];
    }
}

/// A little-endian number; 0 where the bytes end early.
fn number(bytes: &[u8], at: usize, n_bytes: usize) -> u64 {
    let bytes = bytes.get(at..at + n_bytes).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn read(file: &Bytes, offset: u64, len: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; len];
    let offset = usize::try_from(offset).map_err(|_| "is too large for this machine".to_owned())?;
    file.read(offset, &mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(bytes)
}
