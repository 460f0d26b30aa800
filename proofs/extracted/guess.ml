(* An integer factor U with U U^T close to T I - R R^T - delta I, for the integer rows R of an operator: by floating
   point. Nothing here is trusted: the verified checker decides in integers whether T I - R R^T - U U^T is diagonally
   dominant. *)

(* Rows of floats, each from its own first column on: all else is zero. *)
type band = { first : int array; rows : float array array }

(* The band of a matrix whose entries [each] goes through; those of one place add up. *)
let band m each =
  let first = Array.make m max_int and last = Array.make m (-1) in
  each (fun i j v ->
      if v <> 0. then begin
        if j < first.(i) then first.(i) <- j;
        if j > last.(i) then last.(i) <- j
      end);
  let row i = if last.(i) < 0 then [||] else Array.make (last.(i) - first.(i) + 1) 0. in
  let made = { first = Array.mapi (fun i f -> if last.(i) < 0 then 0 else f) first; rows = Array.init m row } in
  each (fun i j v ->
      if v <> 0. then
        let row = made.rows.(i) and at = j - made.first.(i) in
        row.(at) <- row.(at) +. v);
  made

(* sum a[i + k] b[j + k], k < n. *)
let plain_dot a i b j n =
  let sum = ref 0. in
  for k = 0 to n - 1 do
    sum := !sum +. (a.(i + k) *. b.(j + k))
  done;
  !sum

(* The same as if in twice the precision, then rounded (Ogita, Rump, Oishi 2005, Dot2): where there is room for 2^-40 of
   T only, the rounding of hundreds of products in 2^-53 would fill it. *)
let exact_dot (a : float array) i (b : float array) j n =
  let sum = ref 0. and rest = ref 0. in
  for k = 0 to n - 1 do
    let x = a.(i + k) and y = b.(j + k) in
    let p = x *. y in
    let e = Float.fma x y (-.p) in
    let s = !sum +. p in
    let z = s -. !sum in
    rest := !rest +. (!sum -. (s -. z) +. (p -. z) +. e);
    sum := s
  done;
  !sum +. !rest

(* Of two rows of a band. *)
let product dot a i j =
  let f = a.first.(i) and g = a.first.(j) in
  let from = max f g in
  let upto = min (f + Array.length a.rows.(i)) (g + Array.length a.rows.(j)) in
  if upto <= from then 0. else dot a.rows.(i) (from - f) a.rows.(j) (from - g) (upto - from)

(* The lower triangle of A A^T, each row from the first column on where it is not zero. *)
let gram dot a =
  let m = Array.length a.rows in
  let first = Array.make m 0 in
  let row i =
    let full = Array.init (i + 1) (product dot a i) in
    let rec skip j = if j < i && full.(j) = 0. then skip (j + 1) else j in
    first.(i) <- skip 0;
    Array.sub full first.(i) (i + 1 - first.(i))
  in
  let rows = Array.init m row in
  { first; rows }

(* The largest sum of absolute values of a row of a symmetric matrix, given by its lower triangle. *)
let largest_row g =
  let sums = Array.make (Array.length g.rows) 0. in
  let add i v = sums.(i) <- sums.(i) +. Float.abs v in
  Array.iteri
    (fun i row ->
      Array.iteri
        (fun k v ->
          let j = g.first.(i) + k in
          add i v;
          if j < i then add j v)
        row)
    g.rows;
  Array.fold_left max 0. sums

(* The lower triangular L with L L^T = A; None where a pivot is not > 0. L has the band of A. *)
let cholesky dot a =
  let exception Indefinite in
  let m = Array.length a.rows in
  let l = { first = a.first; rows = Array.make m [||] } in
  try
    for i = 0 to m - 1 do
      let f = a.first.(i) in
      let row = Array.copy a.rows.(i) in
      for j = f to i - 1 do
        let from = max f l.first.(j) in
        let done_ = l.rows.(j) in
        let taken = if from < j then dot row (from - f) done_ (from - l.first.(j)) (j - from) else 0. in
        row.(j - f) <- (row.(j - f) -. taken) /. done_.(j - l.first.(j))
      done;
      let pivot = row.(i - f) -. dot row 0 row 0 (i - f) in
      if not (pivot > 0.) then raise Indefinite;
      row.(i - f) <- sqrt pivot;
      l.rows.(i) <- row
    done;
    Some l
  with Indefinite -> None

let none _ _ = Z.zero

(* U for m rows, whose integer entries (i, j, v) [each] goes through: its entry i, j, found when one is first asked for.
   delta = 0.35 2^-slack T. U = 0 where that suffices, as for orthogonal rows, or where no U is found. What is [offered]
   stands in for the guess. *)
let factor ?offered m each top slack =
  let found =
    lazy
      (if Z.sign top <= 0 then none
      else begin
        (* In units of 2^h everything is at most about 1: t = T 4^-h is between 1 and 4. *)
        let h = (Z.numbits top - 1) / 2 in
        let cut = max 0 (Z.numbits top - 64) in
        let t = Float.ldexp (Z.to_float (Z.shift_right top cut)) (cut - (2 * h)) in
        let dot = if slack < 24 then plain_dot else exact_dot in
        let rows = band m (fun f -> each (fun i j v -> f i j (Float.ldexp (Z.to_float v) (-h)))) in
        let g = gram dot rows in
        let is_diagonal = Array.for_all (fun row -> Array.length row = 1) g.rows in
        if is_diagonal || largest_row g <= t *. (1. -. 0x1p-45) then none
        else if offered <> None then Option.get offered
        else begin
          let delta = 1. -. (0.35 *. Float.ldexp 1. (-slack)) in
          let shifted = Array.map (fun row -> Array.map (fun v -> -.(v /. t)) row) g.rows in
          Array.iter (fun row -> let d = Array.length row - 1 in row.(d) <- row.(d) +. delta) shifted;
          match cholesky dot { g with rows = shifted } with
          | None -> none
          | Some l ->
              let unit = min h 60 in
              let root = Float.ldexp (sqrt t) unit in
              fun i j ->
                if i < 0 || i >= m || j < l.first.(i) || j > i then Z.zero
                else Z.shift_left (Z.of_float (Float.round (l.rows.(i).(j - l.first.(i)) *. root))) (h - unit)
        end
      end)
  in
  fun i j -> (Lazy.force found) i j
