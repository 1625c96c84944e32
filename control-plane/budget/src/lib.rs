//! AI usage to cost: reserve, settle, refuse, forecast.
