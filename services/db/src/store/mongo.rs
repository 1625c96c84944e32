//! Documents in MongoDB: `{_id, revision, body}`, indexes on `body.<field>`.
//!
//! Writes are acknowledged by a majority and its journals. What is asked is what every other store answers:
//! comparisons stay within a type, and text compares byte by byte (no collation).

use super::{
    Answer, Body, Collection, Document, DocumentStore, Filter, MAX_PAGE, Query, Scalar, StoreError, Test,
};
use kit::secret::Secret;
use mongodb::{
    Client, Database, IndexModel,
    bson::{self, Bson, doc},
    error::{Error, ErrorKind, WriteFailure},
    options::{Acknowledgment, ClientOptions, Credential, IndexOptions, ReturnDocument, WriteConcern},
};
use std::time::Duration;

/// How long finding a server may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where MongoDB is. The address may hold a password, so it is a secret.
#[derive(Debug, Clone)]
pub struct MongoConfig {
    pub uri: Secret,
    /// Used where the address names no user.
    pub user: Option<String>,
    pub password: Option<Secret>,
}

/// The database where the address names none.
const DATABASE: &str = "penpal";

/// A store in MongoDB. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mongo {
    database: Database,
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Broken(error.into())
}

impl Mongo {
    /// Reads the address. Nothing is connected yet.
    ///
    /// # Errors
    /// When the address makes no sense.
    pub async fn new(config: &MongoConfig) -> Result<Self, StoreError> {
        let mut options = ClientOptions::parse(config.uri.expose()).await.map_err(broken)?;
        options.app_name = Some("penpal-db".to_owned());
        options.server_selection_timeout = Some(PATIENCE);
        options.connect_timeout = Some(PATIENCE);
        options.write_concern =
            Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
        if let (None, Some(user)) = (&options.credential, &config.user) {
            let password = config.password.as_ref().map(|p| p.expose().to_owned());
            options.credential =
                Some(Credential::builder().username(user.clone()).password(password).build());
        }
        let name = options.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());
        let client = Client::with_options(options).map_err(broken)?;
        Ok(Mongo { database: client.database(&name) })
    }

    fn collection(&self, collection: &Collection) -> mongodb::Collection<bson::Document> {
        self.database.collection(collection.name)
    }
}

fn path(field: &str) -> String {
    format!("body.{field}")
}

fn to_bson(value: &Scalar) -> Bson {
    match value {
        Scalar::Text(text) => Bson::String(text.clone()),
        Scalar::Int(n) => Bson::Int64(*n),
        Scalar::Bool(b) => Bson::Boolean(*b),
    }
}

fn conditions(filters: &[Filter]) -> Vec<bson::Document> {
    let condition = |filter: &Filter| {
        let test = match &filter.test {
            Test::Is(value) => doc! {"$eq": to_bson(value)},
            Test::In(list) => doc! {"$in": list.iter().map(to_bson).collect::<Vec<_>>()},
            Test::Range(from, to) => {
                let mut test = doc! {"$exists": true};
                if let Some(value) = from {
                    test.insert("$gte", to_bson(value));
                }
                if let Some(value) = to {
                    test.insert("$lt", to_bson(value));
                }
                test
            }
        };
        doc! {path(filter.field): test}
    };
    filters.iter().map(condition).collect()
}

fn all_of(conditions: Vec<bson::Document>) -> bson::Document {
    if conditions.is_empty() {
        doc! {}
    } else {
        doc! {"$and": conditions}
    }
}

fn body_of(body: &Body) -> Result<bson::Document, StoreError> {
    bson::serialize_to_document(body).map_err(broken)
}

fn document(stored: &bson::Document) -> Result<Document, StoreError> {
    let body = stored.get_document("body").map_err(broken)?;
    Ok(Document {
        id: stored.get_str("_id").map_err(broken)?.to_owned(),
        revision: stored.get_i64("revision").map_err(broken)?,
        body: bson::deserialize_from_document(body.clone()).map_err(broken)?,
    })
}

/// What a failed write means.
fn refused(collection: &'static Collection, error: Error) -> StoreError {
    let message = match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(e)) if e.code == 11000 => e.message.clone(),
        ErrorKind::Command(e) if e.code == 11000 => e.message.clone(),
        _ => return broken(error),
    };
    let field = collection
        .fields
        .iter()
        .find(|f| f.unique && message.contains(&index_name(collection, f.name)))
        .map_or("id", |f| f.name);
    StoreError::Duplicate { collection: collection.name, field: field.to_owned() }
}

fn index_name(collection: &Collection, field: &str) -> String {
    format!("{}__{field}", collection.name)
}

impl DocumentStore for Mongo {
    fn ensure(&self, collection: &'static Collection) -> Answer<'_, ()> {
        Box::pin(async move {
            let index = |field: &super::FieldDef| {
                let mut options = IndexOptions::default();
                options.name = Some(index_name(collection, field.name));
                let mut keys = doc! {path(field.name): 1};
                if field.unique {
                    options.unique = Some(true);
                    if !field.required {
                        // Documents without the field do not count as equal.
                        options.partial_filter_expression = Some(doc! {path(field.name): {"$exists": true}});
                    }
                } else {
                    keys.insert("_id", 1);
                }
                IndexModel::builder().keys(keys).options(options).build()
            };
            let indexes: Vec<IndexModel> = collection.fields.iter().map(index).collect();
            if indexes.is_empty() {
                return Ok(());
            }
            self.collection(collection).create_indexes(indexes).await.map(drop).map_err(broken)
        })
    }

    fn insert(&self, collection: &'static Collection, id: String, body: Body) -> Answer<'_, Document> {
        Box::pin(async move {
            collection.check_body(&body)?;
            let stored = doc! {"_id": &id, "revision": 1_i64, "body": body_of(&body)?};
            let done = self.collection(collection).insert_one(stored).await;
            done.map_err(|e| refused(collection, e))?;
            Ok(Document { id, revision: 1, body })
        })
    }

    fn get(&self, collection: &'static Collection, id: String) -> Answer<'_, Option<Document>> {
        Box::pin(async move {
            let found = self.collection(collection).find_one(doc! {"_id": id}).await.map_err(broken)?;
            found.as_ref().map(document).transpose()
        })
    }

    fn replace(
        &self,
        collection: &'static Collection,
        id: String,
        revision: i64,
        body: Body,
    ) -> Answer<'_, Document> {
        Box::pin(async move {
            collection.check_body(&body)?;
            let update = doc! {"$set": {"body": body_of(&body)?}, "$inc": {"revision": 1_i64}};
            let this = doc! {"_id": &id, "revision": revision};
            let done = self.collection(collection).update_one(this, update).await;
            if done.map_err(|e| refused(collection, e))?.matched_count == 1 {
                return Ok(Document { id, revision: revision + 1, body });
            }
            Err(match self.get(collection, id.clone()).await? {
                Some(_) => StoreError::Conflict { collection: collection.name, id },
                None => StoreError::Missing { collection: collection.name, id },
            })
        })
    }

    fn delete(&self, collection: &'static Collection, id: String) -> Answer<'_, bool> {
        Box::pin(async move {
            let done = self.collection(collection).delete_one(doc! {"_id": id}).await.map_err(broken)?;
            Ok(done.deleted_count == 1)
        })
    }

    fn find(&self, collection: &'static Collection, query: Query) -> Answer<'_, Vec<Document>> {
        Box::pin(async move {
            collection.check_query(&query)?;
            let (direction, beyond) = if query.descending { (-1, "$lt") } else { (1, "$gt") };
            let mut all = conditions(&query.filters);
            if let Some((value, id)) = &query.after {
                all.push(match (query.sort, value) {
                    (Some(sort), Some(value)) => doc! {"$or": [
                        {path(sort): {beyond: to_bson(value)}},
                        {path(sort): to_bson(value), "_id": {beyond: id}},
                    ]},
                    _ => doc! {"_id": {beyond: id}},
                });
            }
            let order = match query.sort {
                Some(sort) => doc! {path(sort): direction, "_id": direction},
                None => doc! {"_id": direction},
            };
            let limit = query.limit.min(MAX_PAGE);
            if limit == 0 {
                return Ok(Vec::new());
            }
            let most = i64::try_from(limit).map_err(broken)?;
            let mut cursor = self
                .collection(collection)
                .find(all_of(all))
                .sort(order)
                .limit(most)
                .await
                .map_err(broken)?;
            let mut found = Vec::new();
            while cursor.advance().await.map_err(broken)? {
                found.push(document(&cursor.deserialize_current().map_err(broken)?)?);
            }
            Ok(found)
        })
    }

    fn count(&self, collection: &'static Collection, filters: Vec<Filter>) -> Answer<'_, u64> {
        Box::pin(async move {
            collection.check_filters(&filters)?;
            let all = all_of(conditions(&filters));
            self.collection(collection).count_documents(all).await.map_err(broken)
        })
    }

    fn increment(
        &self,
        collection: &'static Collection,
        id: String,
        field: &'static str,
        by: i64,
    ) -> Answer<'_, i64> {
        Box::pin(async move {
            collection.check_counter(field)?;
            let update = doc! {"$inc": {path(field): by, "revision": 1_i64}};
            let found = self
                .collection(collection)
                .find_one_and_update(doc! {"_id": &id}, update)
                .return_document(ReturnDocument::After)
                .await
                .map_err(broken)?;
            let missing = || StoreError::Missing { collection: collection.name, id };
            let document = document(&found.ok_or_else(missing)?)?;
            document.body.get(field).and_then(serde_json::Value::as_i64).ok_or_else(|| {
                StoreError::Invalid(format!("{}.{field} is not a whole number", collection.name))
            })
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async { self.database.run_command(doc! {"ping": 1}).await.map(drop).map_err(broken) })
    }

    fn kind(&self) -> &'static str {
        "mongodb"
    }
}
