%% Pushes numbered messages to a session that asks for them with a message "push COUNT RATE TAG" to its own full JID,
%% as the benchmark's stub server does; so that ejabberd's own WebSocket can be measured with the same work.
-module(mod_bench_push).
-export([start/2, stop/1, depends/2, mod_options/1, mod_opt_type/1, mod_doc/0, hear/1]).

start(Host, _Opts) ->
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, hear, 10).

stop(Host) ->
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, hear, 10).

depends(_, _) -> [].
mod_options(_) -> [].
mod_opt_type(_) -> fun(X) -> X end.
mod_doc() -> #{}.

hear({Packet, #{jid := Jid} = State} = Acc) when element(1, Packet) =:= message ->
    Body = fxml:get_path_s(xmpp:encode(Packet), [{elem, <<"body">>}, cdata]),
    case binary:split(Body, <<" ">>, [global]) of
        [<<"push">>, Count, Rate, Tag] ->
            push(Jid, binary_to_integer(Count), number(Rate), Tag),
            {stop, {drop, State}};
        _ ->
            Acc
    end;
hear(Acc) ->
    Acc.

number(Text) ->
    try binary_to_float(Text) catch error:badarg -> float(binary_to_integer(Text)) end.

push(Jid, Count, Rate, Tag) ->
    To = jid:encode(Jid),
    spawn(fun() -> push(To, Count, 1000 / Rate, Tag, 0, erlang:monotonic_time(millisecond)) end).

push(_, Count, _, _, Count, _) ->
    ok;
push(To, Count, Step, Tag, Seq, From) ->
    timer:sleep(max(0, round(From + (Seq + 1) * Step) - erlang:monotonic_time(millisecond))),
    Number = integer_to_binary(Seq),
    Head = <<"hl|", Tag/binary, "|", Number/binary, "|",
             (integer_to_binary(os:perf_counter(microsecond)))/binary, "|">>,
    Used = byte_size(Head),
    Text = <<Head/binary, (binary:part(padding(), Used, 200 - Used))/binary>>,
    ejabberd_router:route(xmpp:decode({xmlel, <<"message">>,
        [{<<"from">>, <<"push@bench.example/stub">>}, {<<"to">>, To}, {<<"type">>, <<"chat">>},
         {<<"id">>, <<"p", Number/binary>>}],
        [{xmlel, <<"body">>, [], [{xmlcdata, Text}]}]}, <<"jabber:client">>, [])),
    push(To, Count, Step, Tag, Seq + 1, From).

padding() ->
    <<"the quick brown fox jumps over the lazy dog while the line holds and every word comes through once in "
      "the order it was said and nothing is lost or doubled or left behind on the way from here to there and back">>.
