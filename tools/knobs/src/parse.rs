//! clap's parsers of knob values. An error names the allowed values; the caller adds the knob and the value's source.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use core::net::Ipv4Addr;
use std::{fmt, path::PathBuf, str::FromStr};

/// Where results of earlier builds are kept for all trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// Nowhere.
    Off,
    /// In this folder.
    Folder(PathBuf),
}

/// One word of an enum declared with `common::words!`.
pub fn word<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse::<T>())
}

/// A whole number from `least` to `most`.
pub fn number(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("takes a whole number from {least} to {most}")),
    }
}

/// A port number of TCP.
pub fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| "takes a whole number from 1 to 65535".to_owned())
}

/// Yes or no.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "on" | "1" => Ok(true),
        "n" | "no" | "false" | "off" | "0" => Ok(false),
        _ => Err("takes y or n".to_owned()),
    }
}

/// `y` or `n`, of which an empty value is neither.
pub fn yes_or_no() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["y", "n"]).map(|word| word.eq_ignore_ascii_case("y"))
}

/// A network of IPv4: `192.168.1.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    address: Ipv4Addr,
    prefix: u32,
}

impl Subnet {
    fn mask(self) -> u32 {
        u32::MAX << (32 - self.prefix)
    }

    /// Whether it contains `address`.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.address)
    }

    /// Its tenth address.
    #[must_use]
    pub fn tenth(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) + 10)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A network of IPv4 with room for a tenth address.
pub fn network(text: &str) -> Result<Subnet, String> {
    let parse = || {
        let (address, prefix) = text.split_once('/')?;
        let network = Subnet { address: address.parse().ok()?, prefix: prefix.parse().ok().filter(|bits| (8..=28).contains(bits))? };
        network.contains(network.address).then_some(network)
    };
    parse().ok_or_else(|| "takes the first address of a network and 8 to 28 bits, such as 10.1.0.0/24".to_owned())
}

/// An address of IPv4.
pub fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| "takes an address such as 10.1.0.10".to_owned())
}

/// A folder, or `off`.
pub fn store(text: &str) -> Result<StorePlace, String> {
    match text {
        "" => Err("takes a folder, or off".to_owned()),
        "off" => Ok(StorePlace::Off),
        folder => Ok(StorePlace::Folder(folder.into())),
    }
}

/// The start of an image's name: a registry, an organization, or both.
pub fn organization(text: &str) -> Result<String, String> {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
    match text.trim_end_matches('/') {
        org if org.split('/').all(is_part) => Ok(org.to_owned()),
        _ => Err("takes the start of an image's name, such as localhost:5001/lfedge".to_owned()),
    }
}

/// Yes or no, or `--force`: the old Makefile passed the value of `FORCE_BUILD` to linuxkit.
pub fn force(text: &str) -> Result<bool, String> {
    if text == "--force" { Ok(true) } else { switch(text) }
}

/// A version: it becomes the name of a folder and part of image names.
pub fn version(text: &str) -> Result<String, String> {
    let is_odd = |c: char| !c.is_ascii_alphanumeric() && !"._-+".contains(c);
    if text.starts_with(['.', '-']) || text.contains(is_odd) || text == "current" {
        return Err("a version is part of names of a folder and of images: letters, digits, `.`, `_`, `-` and `+`, no leading `.` or `-`, and not `current`, which is the link to the last build".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_first_and_a_tenth_address() {
        let net = network("10.1.0.0/24").expect("a network");
        assert_eq!((net.to_string(), net.tenth().to_string()), ("10.1.0.0/24".to_owned(), "10.1.0.10".to_owned()));
        assert!(net.contains(Ipv4Addr::new(10, 1, 0, 5)) && !net.contains(Ipv4Addr::new(10, 1, 1, 5)));
        for text in ["10.1.0.0", "10.1.0.1/24", "10.1.0.0/30", "10.1.0.0/0", "10.1.0/24", "x/24", ""] {
            assert!(network(text).expect_err(text).contains("such as 10.1.0.0/24"));
        }
        assert_eq!(address("10.1.0").expect_err("refused"), "takes an address such as 10.1.0.10");
    }
}
