//! Numbers of the command line: ids of tokens, beams, tokens to generate.

/// Ids given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdList(pub Vec<u32>);

/// Reads `10,42,87`.
pub fn parse_ids(text: &str) -> Result<IdList, String> {
    let id = |part: &str| {
        part.trim().parse::<u32>().map_err(|_| format!("\"{part}\" is no token id; ids are written 10,42,87"))
    };
    text.split(',').map(id).collect::<Result<_, _>>().map(IdList)
}

/// Reads a number of beams.
pub fn parse_beams(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=64) => Ok(n),
        _ => Err("a number of beams from 1 to 64 was expected".into()),
    }
}

/// Reads how many tokens are generated at most.
pub fn parse_max_tokens(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1_000_000) => Ok(n),
        _ => Err("a number of tokens from 1 to 1000000 was expected".into()),
    }
}
