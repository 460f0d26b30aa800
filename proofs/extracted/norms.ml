(* The norms of a certificate: what one states, and what the verified checker is to prove it by. *)

open Refusal

type statement = { maps : string list; rule : string; square : Q.t; slack : int; fields : string -> Json.t }

let rules =
  [ ("dense", []); ("unrolled", []); ("torus", [ "sizes"; "twists"; "grid" ]); ("entries", []); ("copies", []);
    ("separable", [ "squares"; "slacks" ]); ("rows", []) ]

let slack value where =
  match value with
  | Json.Integer z when Z.sign z >= 0 && Z.leq z (Z.of_int 40) -> Z.to_int z
  | _ -> refused "%s: slack is an integer between 0 and 40" where

(* The statement of one norm, its chain of nodes checked to be one. *)
let read value where graph =
  let rule = Reading.text (Reading.get value "rule") where in
  match List.assoc_opt rule rules with
  | None -> unchecked "the rule %s of %s" (Text.prefix 40 rule) where
  | Some more ->
      let fields = Reading.fields value where ([ "maps"; "rule"; "square"; "slack" ] @ more) in
      let maps = List.map (fun m -> Reading.text m where) (Array.to_list (Reading.list (fields "maps") where)) in
      if maps = [] || List.exists (fun m -> Graph.find graph m = None) maps then
        refused "%s is of no nodes of the graph" where;
      let nodes = List.map (fun m -> Option.get (Graph.find graph m)) maps in
      let follow (first : Graph.node) (second : Graph.node) =
        if second.reads <> [ first.value ] then
          refused "%s: %s does not read %s alone" where (Text.repr second.value) (Text.repr first.value);
        second
      in
      ignore (List.fold_left follow (List.hd nodes) (List.tl nodes));
      if not (List.for_all (fun (n : Graph.node) -> Maps.is_linear n.map) nodes) then
        disproved "%s is of a node that is not linear" where;
      let slack = slack (fields "slack") where in
      { maps; rule; square = Numbers.hex_number (fields "square"); slack; fields }

let unwrapped (map : Maps.map) = match map.kind with Maps.Adjoint of_ -> (of_, true) | _ -> (map, false)

let last list = List.nth list (List.length list - 1)

(* Products of integers that a proof takes, about. *)
let cost (chain : Maps.map list) rule =
  let small_first a b = if Z.leq a b then (a, b) else (b, a) in
  let of_shape out inner =
    let small, large = small_first (Z.of_int out) (Z.of_int inner) in
    Z.mul (Z.mul small small) (Z.add small large)
  in
  let first = List.hd chain in
  if rule = "unrolled" then
    let small, large =
      small_first (Reading.product_z (List.hd first.inputs)) (Reading.product_z (last chain).output)
    in
    Z.mul (Z.mul small small) large
  else if rule = "torus" then Z.zero
  else
    match (fst (unwrapped first)).kind with
    | Dense { out; inner; _ } -> of_shape out inner
    | Separable (factors, _) ->
        List.fold_left (fun sum (_, _, out, inner) -> Z.add sum (of_shape out inner)) Z.zero factors
    | _ -> Z.zero

let max_side = 4096
let max_unrolled = 2048
let max_places = 1 lsl 22

(* i = c (n / channels) + p, entry p of channel c, to its number where channels come last. *)
let by_place channels n i = (i mod (n / channels) * channels) + (i / (n / channels))

(* The factor U that a certificate offers for a norm: j, and the entries of its lower triangle row by row. *)
type factor = { shift : int; side : int; triangle : int -> Z.t }

let read_factor name value =
  let where = Printf.sprintf "the factor of %s" (Text.repr (Text.prefix 200 name)) in
  let get = Reading.fields value where [ "shift"; "rows" ] in
  let data = Base64.field (get "rows") where in
  let count = String.length data / 8 in
  let shift =
    match get "shift" with
    | Json.Integer z when Z.sign z >= 0 && Z.leq z (Z.of_int 62) && String.length data mod 8 = 0 -> Z.to_int z
    | _ -> refused "%s has no shift, or no whole numbers" where
  in
  let side = (Z.to_int (Z.sqrt (Z.of_int ((8 * count) + 1))) - 1) / 2 in
  if side * (side + 1) / 2 <> count then refused "%s is no triangle" where;
  { shift; side; triangle = (fun k -> Z.of_int64 (String.get_int64_le data (8 * k))) }

(* It is in units of 2^-(k + j), k as docs/certificates.md has it of the number of entries and the square. Here the
   units are those of the operator's own integers, 2^e. *)
let in_units factor ~m ~entries square slack e =
  let { shift; side; triangle } = factor in
  if side <> m || Q.sign square = 0 then Guess.none
  else
    let spread = Q.div (Q.of_int entries) square in
    let bits = Z.numbits (Q.num spread) - Z.numbits (Q.den spread) + 2 in
    let k = slack + 10 + (if bits >= 0 then bits / 2 else (bits - 1) / 2) in
    let by = -k - shift - e in
    let half = if by < 0 then Z.shift_left Z.one (-by - 1) else Z.zero in
    let scaled v = if by >= 0 then Z.shift_left v by else Z.shift_right (Z.add v half) (-by) in
    fun i j -> if j > i || i >= m then Z.zero else scaled (triangle ((i * (i + 1) / 2) + j))

(* How many numbers the array of a dense map or a convolution has. *)
let rec numbers_of = function
  | Verified.Along (_, out, inner, _, _) -> out * inner
  | Verified.Convolution c -> c.groups * c.outs * c.ins * c.first_axis.taps * c.second_axis.taps
  | Verified.Adjoint of_ -> numbers_of of_
  | _ -> 0

(* The evidence of a Gram matrix on the smaller side of a map. Of two equal sides it is that of the columns (of the
   rows, where the map is the adjoint of a convolution): offered factors have it so. *)
let gram ?offered arrays linear ~channels:(row_channels, column_channels) square slack where =
  let rows, columns = Verified.shape linear in
  let turned = match linear with Verified.Adjoint (Verified.Convolution _) -> true | _ -> false in
  let of_rows = rows < columns || (turned && rows = columns) in
  let m, a, b = if of_rows then (rows, row_channels, column_channels) else (columns, column_channels, row_channels) in
  let n = max rows columns in
  let each f =
    Operators.entries linear (fun i j v ->
        let i, j = if of_rows then (i, j) else (j, i) in
        f (by_place a m i) (by_place b n j) v)
  in
  Arrays.look_up arrays ~times:2 m n where;
  let e = Verified.scale linear in
  let top = Verified.floor_over (Operators.to_q square) e in
  let entries = numbers_of linear in
  let offered = Option.map (fun factor -> in_units factor ~m ~entries square slack (Z.to_int e)) offered in
  Verified.GramFactor (of_rows, a, b, Guess.factor ?offered m each top slack)

(* Channels of what a convolution, or its adjoint, makes and reads. *)
let rec channels = function
  | Verified.Convolution c -> (c.groups * c.outs, c.groups * c.ins)
  | Verified.Adjoint of_ -> let a, b = channels of_ in (b, a)
  | _ -> (1, 1)

let dense ?offered arrays linear square slack where =
  let rows, columns = Verified.shape linear in
  let copies =
    match linear with
    | Verified.Along (before, _, _, after, _) | Verified.Adjoint (Verified.Along (before, _, _, after, _)) ->
        before * after
    | _ -> 1
  in
  let small = min rows columns / copies in
  if small > max_side then refused "a Gram matrix of %d rows" small;
  if copies > 1 && small * copies > max_unrolled then
    unchecked "%s: a matrix of %d rows, %d times" where small copies;
  (* A factor is offered for the matrix alone. *)
  let offered = if copies = 1 then offered else None in
  (* Along a first axis, the rows of one place come next to each other: that makes the Gram matrix a band. *)
  let order = match linear with Verified.Along (1, out, inner, _, _) -> (out, inner) | _ -> (1, 1) in
  gram ?offered arrays linear ~channels:order square slack where

let unrolled ?offered arrays linear square slack where =
  let rows, columns = Verified.shape linear in
  let rec places = function
    | Verified.Convolution c ->
        let outs = c.first_axis.outputs * c.second_axis.outputs * c.groups * c.outs in
        Z.mul (Z.of_int outs) (Z.of_int (c.ins * c.first_axis.taps * c.second_axis.taps))
    | Verified.Adjoint of_ -> places of_
    | _ -> Z.zero
  in
  if min rows columns > max_unrolled || Z.gt (places linear) (Z.of_int max_places) then
    refused "a convolution's matrix of %d x %d entries" (min rows columns) (max rows columns);
  gram ?offered arrays linear ~channels:(channels linear) square slack where

(* Input entry -> the outputs that copy it. *)
let copies out inner source =
  let table =
    lazy
      (let found = Array.make inner [] in
       for i = out - 1 downto 0 do
         match source i with Some k when k >= 0 && k < inner -> found.(k) <- i :: found.(k) | _ -> ()
       done;
       found)
  in
  fun k -> if k < 0 || k >= inner then [] else (Lazy.force table).(k)

(* The factors of a separable map with a square of each, from the first on. *)
let separable arrays linear statement factors scale where =
  let length = List.length factors in
  let squares = Array.map Numbers.hex_number (Reading.list ~length (statement.fields "squares") where) in
  let slacks = Array.map (fun s -> slack s where) (Reading.list ~length (statement.fields "slacks") where) in
  let rec factor linear k =
    match linear with
    | Verified.Compose (outer, inner) ->
        let inside, square = factor inner (k - 1) in
        let evidence = dense arrays outer squares.(k) slacks.(k) where in
        ( Verified.Product (evidence, Operators.to_q squares.(k), inside, Operators.to_q square),
          Q.mul square squares.(k) )
    | only -> (dense arrays only squares.(k) slacks.(k) where, squares.(k))
  in
  match linear with
  | Verified.Compose ((Verified.Scaling (n, _)), inner) ->
      Arrays.look_up arrays n 1 where;
      let inside, square = factor inner (length - 1) in
      let squared = Operators.to_q (Q.mul scale scale) in
      Verified.Product (Verified.Entries, squared, inside, Operators.to_q square)
  | _ -> Verified.Entries

(* Whether the rows of a convolution are the rows of its kernel, as the rule takes them. *)
let kernel_rows (c : Maps.convolution) image =
  let taps = List.tl (List.tl c.sizes) in
  not
    (c.circular
    && List.exists2 (fun (k, d) n -> k > 1 && d > (n - 1) / (k - 1)) (List.combine taps c.dilation) image)

(* The evidence of a norm, None for one of rows. [linear] reads the numbers of a node's map.
   [Unchecked] for a rule or a form that is not known here, [Disproved] where the rule is not one of this map. *)
let evidence ?offered statement (chain : Maps.map list) where arrays ~linear =
  Arrays.spend arrays (Z.shift_right (cost chain statement.rule) 8);
  if List.length chain <> 1 then
    unchecked "the nodes %s as one operator" (String.concat ", " (List.map Maps.kind_name chain));
  let map = List.hd chain in
  let square = statement.square in
  match (statement.rule, map.kind, (fst (unwrapped map)).kind) with
  | "dense", _, Dense _ -> Some (dense ?offered arrays (linear map) square statement.slack where)
  | "rows", _, Dense _ ->
      let rows, columns = Verified.shape (linear map) in
      Arrays.look_up arrays rows columns where;
      None
  | "torus", _, _ -> unchecked "the rule torus of %s" where
  | "unrolled", _, Convolution _ -> Some (unrolled ?offered arrays (linear map) square statement.slack where)
  | "rows", Convolution c, _ ->
      let rows, columns = Verified.shape (linear map) in
      if not (kernel_rows c (List.tl (List.tl (List.hd map.inputs)))) then
        unchecked "rows of an adjoint, or of a circular kernel larger than its image";
      Arrays.look_up arrays rows columns where;
      None
  | "unrolled", _, _ | "rows", Diagonal _, _ -> disproved "%s is of no convolution" where
  | "entries", Diagonal _, _ ->
      let entries = fst (Verified.shape (linear map)) in
      Arrays.look_up arrays entries 1 where;
      Some Verified.Entries
  | "copies", (Gather _ | Pad _ | Rearrange _), _ -> (
      let total = Z.add (Reading.product_z map.output) (Reading.product_z (List.hd map.inputs)) in
      (match map.kind with Gather _ -> Arrays.spend arrays (Z.mul (Z.of_int 2) total) | _ -> ());
      match linear map with
      | Verified.Copying (out, inner, source) ->
          Arrays.look_up arrays (max out inner) 1 where;
          Some (Verified.Copies (copies out inner source))
      | _ -> assert false)
  | "separable", Separable (factors, scale), _ ->
      Some (separable arrays (linear map) statement factors scale where)
  | rule, _, _ -> unchecked "the rule %s of a map of kind %s" rule (Maps.kind_name map)
