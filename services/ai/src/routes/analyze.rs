//! `POST /api/v1/ai/analyze`: grammar with any provider; style and vocabulary need one that understands text.

use super::chat::Answer;
use crate::{
    App,
    domain::{Analysis, AnalysisType},
};
use axum::{
    extract::{ConnectInfo, State},
    http::HeaderMap,
};
use kit::http::{ApiError, Caller, Json};
use std::{net::SocketAddr, sync::Arc};

pub(super) async fn analyze(
    _: Caller,
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(body): Json<Analysis>,
) -> Result<Json<Answer>, ApiError> {
    if app.llm.provider() == "offline" && body.kind() != AnalysisType::Grammar {
        return Err(ApiError::unavailable(
            "needs_a_provider",
            "the offline tutor knows mistakes of grammar only: set OPENAI_API_KEY for style and vocabulary",
        ));
    }
    let ask = body.into_ask(app.defaults()).map_err(ApiError::bad_request)?;
    app.ask(ask, &headers, peer, "analyze").await.map(Json)
}
