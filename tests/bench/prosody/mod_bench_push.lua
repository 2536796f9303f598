-- Pushes numbered messages to a session that asks for them with a message "push COUNT RATE TAG" to its own full JID,
-- as the benchmark's stub server does; so that Prosody's own BOSH can be measured with the same work.
local st = require "util.stanza";
local monotonic = require "util.time".monotonic;
local padding = "the quick brown fox jumps over the lazy dog while the line holds and every word comes through once in "
	.. "the order it was said and nothing is lost or doubled or left behind on the way from here to there and back";

local function text(tag, seq)
	local head = ("hl|%s|%d|%d|"):format(tag, seq, math.floor(monotonic() * 1000000));
	return head .. padding:sub(#head + 1, 200);
end

local function push(event)
	local origin, body = event.origin, event.stanza:get_child_text("body");
	local count, rate, tag = (body or ""):match("^push (%d+) (%S+) (%d+)$");
	if not count then return; end
	count, rate = tonumber(count), tonumber(rate);
	local from, seq = monotonic(), 0;
	module:add_timer(1 / rate, function ()
		repeat
			origin.send(st.message({ from = "push@bench.example/stub", to = origin.full_jid, type = "chat",
				id = "p" .. seq }, text(tag, seq)));
			seq = seq + 1;
		until seq == count or from + (seq + 1) / rate > monotonic() + 0.0005
		return seq < count and math.max(from + (seq + 1) / rate - monotonic(), 0.0001) or nil;
	end);
	return true;
end

module:hook("pre-message/full", push, 1000);
