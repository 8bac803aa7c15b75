//! The order of packages in which each comes after all that it needs.

use super::Member;
use anyhow::{Result, bail};
use std::collections::BTreeSet;

/// How far a package has got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unseen,
    Open,
    Done,
}

/// Orders the packages; `needs[i]` are those that package `i` needs. Fails on a cycle, which no tags could satisfy.
pub(super) fn order(needs: &[BTreeSet<usize>], packages: &[Member]) -> Result<Vec<usize>> {
    let mut marks = vec![Mark::Unseen; needs.len()];
    let mut order = Vec::with_capacity(needs.len());
    for start in 0..needs.len() {
        // A stack of its own: a chain of packages may be long.
        let mut path = if marks[start] == Mark::Unseen { vec![(start, needs[start].iter())] } else { Vec::new() };
        marks[start] = if path.is_empty() { marks[start] } else { Mark::Open };
        while let Some((package, rest)) = path.last_mut() {
            match rest.next().copied() {
                None => {
                    marks[*package] = Mark::Done;
                    order.push(*package);
                    path.pop();
                }
                Some(next) if marks[next] == Mark::Unseen => {
                    marks[next] = Mark::Open;
                    path.push((next, needs[next].iter()));
                }
                Some(next) if marks[next] == Mark::Open => {
                    let from = path.iter().position(|(open, _)| *open == next).unwrap_or_default();
                    let names = path[from..].iter().map(|(open, _)| *open).chain([next]).map(|index| packages[index].name.as_str());
                    bail!(
                        "packages name each other in a circle: {}\nEach new tag would change the next one, so no tags are right.\nhint: `frozen` of [packages] in the profile lists folders whose files keep the tags that they name",
                        names.collect::<Vec<_>>().join(" → ")
                    );
                }
                Some(_) => {}
            }
        }
    }
    Ok(order)
}
