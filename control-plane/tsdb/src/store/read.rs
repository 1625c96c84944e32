//! The reading side of the store.

use super::{Inner, Tsdb, lock};
use crate::{
    block::{Block, BlockIndex},
    head::Head,
    select::Stream,
};
use model::{Labels, Select, SelectError, SelectRequest, SeriesStream};
use std::{collections::BTreeSet, sync::Arc};

type Indexed = Vec<(Arc<Block>, Arc<BlockIndex>)>;

impl Inner {
    /// Calls `look` with the head and whether nothing but the head reaches into the range, and returns what it gave
    /// with the blocks of the same moment that do.
    fn moment<T>(
        &self,
        request: &SelectRequest<'_>,
        look: impl FnOnce(&Head, bool) -> Result<T, SelectError>,
    ) -> Result<(Indexed, T), SelectError> {
        let (taken, blocks) = {
            let head = self.head();
            let blocks = lock(&self.blocks);
            let within = blocks.iter().filter(|b| b.overlaps(request.start, request.end));
            let within: Vec<Arc<Block>> = within.cloned().collect();
            drop(blocks);
            if request.limits.memory_only && !within.is_empty() {
                return Err(SelectError::Limit { what: "blocks", limit: 0 });
            }
            (look(&head, within.is_empty())?, within)
        };
        let mut indexed = Vec::new();
        for block in blocks {
            request.cancel.check()?;
            let index = self.index(&block)?;
            indexed.push((block, index));
        }
        Ok((indexed, taken))
    }

    fn index(&self, block: &Block) -> Result<Arc<BlockIndex>, SelectError> {
        {
            let mut cached = lock(&self.indexes);
            if let Some(i) = cached.iter().position(|(path, _)| *path == block.path) {
                let entry = cached.remove(i);
                let index = Arc::clone(&entry.1);
                cached.push(entry);
                return Ok(index);
            }
        }
        let index = Arc::new(block.load_index()?);
        let mut cached = lock(&self.indexes);
        cached.push((block.path.clone(), Arc::clone(&index)));
        let mut total: usize = cached.iter().map(|(_, i)| i.size()).sum();
        while total > self.config.index_cache_bytes && cached.len() > 1 {
            total -= cached.remove(0).1.size();
        }
        Ok(index)
    }
}

impl Select for Tsdb {
    fn select<'a>(&'a self, request: &SelectRequest<'_>) -> Result<Box<dyn SeriesStream + 'a>, SelectError> {
        let (blocks, head) = self.0.moment(request, |head, alone| head.take_matching(request, alone))?;
        Ok(Box::new(Stream::new(request, blocks, head)?))
    }

    fn series(&self, request: &SelectRequest<'_>) -> Result<Vec<Labels>, SelectError> {
        let (blocks, mut found) = self.0.moment(request, |head, _| head.labels_matching(request))?;
        if !blocks.is_empty() {
            found.extend(Stream::new(request, blocks, Vec::new())?.all_labels()?);
            found.sort_unstable();
            found.dedup();
        }
        match request.limits.series {
            Some(limit) if found.len() > limit => Err(SelectError::Limit { what: "series", limit }),
            _ => Ok(found),
        }
    }

    fn label_names(&self, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        let mut names = BTreeSet::new();
        if request.matchers.is_empty() {
            let (blocks, head) = self.0.moment(request, |head, _| {
                let names = head.label_index().names().map(|(name, _)| name.to_string());
                Ok(if head.reaches_into(request) { names.collect::<Vec<_>>() } else { Vec::new() })
            })?;
            names.extend(head);
            for (_, index) in blocks {
                names.extend(index.names()?);
            }
            return Ok(names.into_iter().collect());
        }
        for labels in self.series(request)? {
            for l in labels.iter() {
                if !names.contains(&*l.name) {
                    names.insert(l.name.to_string());
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    fn label_values(&self, name: &str, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        let mut values = BTreeSet::new();
        if request.matchers.is_empty() {
            let (blocks, head) = self.0.moment(request, |head, _| {
                if !head.reaches_into(request) {
                    return Ok(Vec::new());
                }
                let most = request.limits.series.unwrap_or(usize::MAX);
                let found = head.label_index().values(name).map(|(v, _)| v.to_string());
                let found: Vec<String> = found.take(most.saturating_add(1)).collect();
                if found.len() > most {
                    return Err(SelectError::Limit { what: "label values", limit: most });
                }
                Ok(found)
            })?;
            values.extend(head);
            for (_, index) in blocks {
                values.extend(index.values(name)?);
            }
        } else {
            let all = self.series(request)?;
            values.extend(all.iter().filter_map(|l| l.get(name)).map(str::to_owned));
        }
        Ok(values.into_iter().collect())
    }
}
