//! Reads lf-edge/eve's tools/parse-pkgs.sh: which names of images there are in templates, in which order, and which package each is of.

use std::collections::BTreeMap;

/// What the script has.
pub struct ImageNames {
    /// The names without `_TAG`, in the order in which the script prints them. Names without a value are left out.
    pub table: Vec<String>,
    /// `XENTOOLS_TAG` → `xen-tools`, `PILLAR_DEV_TAG` → `pillar:build-dev.yml`.
    pub packages: BTreeMap<String, String>,
}

/// Reads the script's text. `has_yml` tells whether a package has a build.yml of a name.
pub fn read(script: &str, has_yml: &dyn Fn(&str, &str) -> bool) -> ImageNames {
    let assigned: BTreeMap<String, String> = script.lines().filter_map(|line| assignment(line, has_yml)).collect();
    // The kernel's name and EVE's own are computed in other ways.
    let has_value = |name: &str| assigned.contains_key(&format!("{name}_TAG")) || ["KERNEL", "EVE"].contains(&name);
    let printed = script.lines().filter_map(|line| {
        let (name, value) = line.split_once("_TAG=${")?;
        value.starts_with(&format!("{name}_TAG")).then(|| name.to_owned())
    });
    let table = printed.filter(|name| has_value(name)).collect();
    ImageNames { table, packages: assigned }
}

/// `NAME_TAG=$(linuxkit_dev_tag pkg/x)`: the name, and `x` or `x:build-dev.yml`.
fn assignment(line: &str, has_yml: &dyn Fn(&str, &str) -> bool) -> Option<(String, String)> {
    let (name, call) = line.trim().split_once("=$(linuxkit_")?;
    let (function, package) = call.strip_suffix(')')?.split_once(" pkg/")?;
    // A second word is a kind of root file system, which PLATFORM=evaluation has several of.
    let package = package.split_whitespace().next()?;
    let variant = function.strip_suffix("tag")?.trim_end_matches('_').replace('_', "-");
    let yml = format!("build-{variant}.yml");
    let package = if !variant.is_empty() && has_yml(package, &yml) { format!("{package}:{yml}") } else { package.to_owned() };
    name.ends_with("_TAG").then(|| (name.to_owned(), package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_packages_and_variants_are_found() {
        let script = "gen() {\nKERNEL_TAG=${KERNEL_TAG}\nNONE_TAG=${NONE_TAG}\nPILLAR_K_DEV_TAG=${PILLAR_K_DEV_TAG}\nFW_TAG=${FW_TAG}\nEVE_TAG=${EVE_TAG:-}\n}\n\
            PILLAR_K_DEV_TAG=$(linuxkit_k_dev_tag pkg/pillar)\nFW_TAG=$(linuxkit_fw_tag pkg/fw generic)\nEVE_TAG=$(synthetic_tag a/eve pkg/eve/Dockerfile.in)\n";
        let names = read(script, &|package, yml| package == "pillar" && yml == "build-k-dev.yml");
        assert_eq!(names.table, ["KERNEL", "PILLAR_K_DEV", "FW", "EVE"]);
        assert_eq!(names.packages["PILLAR_K_DEV_TAG"], "pillar:build-k-dev.yml");
        assert_eq!((names.packages.len(), names.packages["FW_TAG"].as_str()), (2, "fw"));
    }
}
