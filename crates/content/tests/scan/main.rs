//! Scans of archives built byte by byte, of what real clients pushed, and of anything at all.

#[cfg(test)]
mod archives;
#[cfg(test)]
mod build;
#[cfg(test)]
mod compressed;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod nested;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod zips;
