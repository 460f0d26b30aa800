(** Products of integer matrices, many entries at a time.

    A row is a list of integers from its own first column on. Packed, it is one large integer, sum_j r_j 2^(w j): a
    combination of packed rows is a combination of a few large integers, and its entries can be read off as long as they
    are below 2^(w - 1) in magnitude (Kronecker substitution). [product a b] is proved to be the matrix product. *)

From Coq Require Import Arith ZArith List Lia.
Import ListNotations.
Open Scope Z_scope.

(** ** Sums of integers *)

Fixpoint zsum (n : nat) (f : nat -> Z) : Z :=
  match n with
  | O => 0
  | S k => zsum k f + f k
  end.

Lemma zsum_ext n f g : (forall i, (i < n)%nat -> f i = g i) -> zsum n f = zsum n g.
Proof.
  induction n as [|n IH]; simpl; intros same; [reflexivity|].
  rewrite IH, same; auto with arith.
Qed.

Lemma zsum_zero n f : (forall i, (i < n)%nat -> f i = 0) -> zsum n f = 0.
Proof. induction n as [|n IH]; simpl; intros zero; [reflexivity|]. rewrite IH, zero; auto with arith. Qed.

Lemma zsum_plus n f g : zsum n (fun i => f i + g i) = zsum n f + zsum n g.
Proof. induction n as [|n IH]; simpl; [reflexivity | rewrite IH; ring]. Qed.

Lemma zsum_scal n c f : zsum n (fun i => c * f i) = c * zsum n f.
Proof. induction n as [|n IH]; simpl; [ring | rewrite IH; ring]. Qed.

Lemma zsum_first n f : zsum (S n) f = f O + zsum n (fun i => f (S i)).
Proof. induction n as [|n IH]; [simpl; ring|]. simpl in *. rewrite IH. ring. Qed.

Lemma zsum_add n m f : zsum (n + m) f = zsum n f + zsum m (fun j => f (n + j)%nat).
Proof.
  induction m as [|m IH]; simpl; [rewrite Nat.add_0_r; ring|].
  replace (n + S m)%nat with (S (n + m)) by lia. simpl. rewrite IH. ring.
Qed.

(** ** Rows *)

Record row := Row { first : nat; entries : list Z }.

Definition empty : row := Row 0 [].

(** Entry j: zero before the first column and after the last. *)
Definition coef (r : row) (j : nat) : Z := if (j <? first r)%nat then 0 else nth (j - first r) (entries r) 0.

Lemma coef_before r j : (j < first r)%nat -> coef r j = 0.
Proof. intros before. unfold coef. apply Nat.ltb_lt in before. rewrite before. reflexivity. Qed.

Lemma coef_from r j : coef r (first r + j) = nth j (entries r) 0.
Proof.
  unfold coef. replace (first r + j <? first r)%nat with false by (symmetry; apply Nat.ltb_ge; lia).
  f_equal. lia.
Qed.

Lemma coef_after r j : (first r + length (entries r) <= j)%nat -> coef r j = 0.
Proof.
  intros after. replace j with (first r + (j - first r))%nat by lia. rewrite coef_from.
  apply nth_overflow. lia.
Qed.

(** The row of a function on 0 .. n - 1, without the zeros at its ends. *)
Fixpoint without_leading (k : nat) (l : list Z) : row :=
  match l with
  | 0 :: rest => without_leading (S k) rest
  | _ => Row k l
  end.

Definition without_trailing (l : list Z) : list Z :=
  fold_right (fun v rest => match rest, v with [], 0 => [] | _, _ => v :: rest end) [] l.

Definition row_of (n : nat) (f : nat -> Z) : row := without_leading 0 (without_trailing (map f (seq 0 n))).

Lemma without_trailing_nth l j : nth j (without_trailing l) 0 = nth j l 0.
Proof.
  revert j. induction l as [|v l IH]; intros j; [reflexivity|]. simpl. fold (without_trailing l).
  destruct (without_trailing l) as [|u rest] eqn:same.
  - destruct v; destruct j as [|j]; simpl; try reflexivity; rewrite <- IH; destruct j; reflexivity.
  - destruct j as [|j]; [reflexivity|]. simpl. apply IH.
Qed.

Lemma without_leading_coef k l j : coef (without_leading k l) j = coef (Row k l) j.
Proof.
  revert k j. induction l as [|v l IH]; intros k j; [reflexivity|].
  destruct v as [| |]; [|reflexivity|reflexivity]. simpl. rewrite IH. unfold coef. simpl.
  destruct (Nat.ltb_spec j (S k)) as [below|above], (Nat.ltb_spec j k) as [less|more]; try lia; try reflexivity.
  - replace (j - k)%nat with O by lia. reflexivity.
  - replace (j - k)%nat with (S (j - S k)) by lia. reflexivity.
Qed.

Lemma nth_map_seq n f j : nth j (map f (seq 0 n)) 0 = if (j <? n)%nat then f j else 0.
Proof.
  destruct (Nat.ltb_spec j n) as [below|above].
  - rewrite (nth_indep _ 0 (f O)) by (rewrite map_length, seq_length; exact below).
    rewrite map_nth, seq_nth by exact below. reflexivity.
  - apply nth_overflow. rewrite map_length, seq_length. exact above.
Qed.

Lemma row_of_coef n f j : coef (row_of n f) j = if (j <? n)%nat then f j else 0.
Proof.
  unfold row_of. rewrite without_leading_coef. unfold coef. simpl. rewrite Nat.sub_0_r, without_trailing_nth.
  apply nth_map_seq.
Qed.

(** ** Packing *)

(** sum_(j < n) f_j 2^(w j). *)
Definition packed_value (w : Z) (n : nat) (f : nat -> Z) : Z := zsum n (fun j => f j * 2 ^ (w * Z.of_nat j)).

Fixpoint pack (w : Z) (l : list Z) : Z :=
  match l with
  | [] => 0
  | v :: rest => v + Z.shiftl (pack w rest) w
  end.

(** The lowest w bits, as a number between -2^(w-1) and 2^(w-1). *)
Definition lowest (w p : Z) : Z :=
  let low := Z.land p (Z.ones w) in if low <? 2 ^ (w - 1) then low else low - 2 ^ w.

Fixpoint unpack (w : Z) (n : nat) (p : Z) : list Z :=
  match n with
  | O => []
  | S m => let low := lowest w p in low :: unpack w m (Z.shiftr (p - low) w)
  end.

Lemma packed_value_first w n f :
  0 <= w -> packed_value w (S n) f = f O + 2 ^ w * packed_value w n (fun j => f (S j)).
Proof.
  intros nonneg. unfold packed_value. rewrite zsum_first. f_equal.
  - rewrite Z.mul_0_r, Z.pow_0_r. ring.
  - rewrite <- zsum_scal. apply zsum_ext; intros j _.
    replace (w * Z.of_nat (S j)) with (w + w * Z.of_nat j) by lia. rewrite Z.pow_add_r by lia. ring.
Qed.

Lemma packed_value_add w n m f :
  0 <= w ->
  packed_value w (n + m) f
  = packed_value w n f + 2 ^ (w * Z.of_nat n) * packed_value w m (fun j => f (n + j)%nat).
Proof.
  intros nonneg. unfold packed_value. rewrite zsum_add. f_equal. rewrite <- zsum_scal.
  apply zsum_ext; intros j _. replace (w * Z.of_nat (n + j)) with (w * Z.of_nat n + w * Z.of_nat j) by lia.
  rewrite Z.pow_add_r by lia. ring.
Qed.

Lemma packed_value_ext w n f g : (forall j, (j < n)%nat -> f j = g j) -> packed_value w n f = packed_value w n g.
Proof. intros same. apply zsum_ext; intros j below. rewrite same by exact below. reflexivity. Qed.

Lemma packed_value_zero w n f : (forall j, (j < n)%nat -> f j = 0) -> packed_value w n f = 0.
Proof. intros zero. apply zsum_zero; intros j below. rewrite zero by exact below. reflexivity. Qed.

Lemma pack_correct w l : 0 <= w -> pack w l = packed_value w (length l) (fun j => nth j l 0).
Proof.
  intros nonneg. induction l as [|v l IH]; [reflexivity|].
  simpl length. rewrite packed_value_first by exact nonneg. simpl.
  rewrite IH, Z.shiftl_mul_pow2 by exact nonneg. ring.
Qed.

(** The lowest entry of f_0 + 2^w rest is f_0. *)
Lemma lowest_correct w v rest : 1 <= w -> Z.abs v < 2 ^ (w - 1) -> lowest w (v + 2 ^ w * rest) = v.
Proof.
  intros positive small. unfold lowest. rewrite Z.land_ones by lia.
  assert (2 ^ w = 2 * 2 ^ (w - 1)) as double.
  { replace w with (1 + (w - 1)) at 1 by lia. rewrite Z.pow_add_r by lia. reflexivity. }
  rewrite (Z.mul_comm (2 ^ w)), Z_mod_plus_full.
  destruct (Z_le_gt_dec 0 v) as [nonneg|negative].
  - rewrite Z.mod_small by lia. replace (v <? 2 ^ (w - 1)) with true by (symmetry; apply Z.ltb_lt; lia). reflexivity.
  - replace (v mod 2 ^ w) with (v + 2 ^ w).
    + replace (v + 2 ^ w <? 2 ^ (w - 1)) with false by (symmetry; apply Z.ltb_ge; lia). ring.
    + rewrite <- (Z_mod_plus_full v 1), Z.mul_1_l, Z.mod_small by lia. reflexivity.
Qed.

Theorem unpack_correct w n f :
  1 <= w -> (forall j, (j < n)%nat -> Z.abs (f j) < 2 ^ (w - 1)) ->
  unpack w n (packed_value w n f) = map f (seq 0 n).
Proof.
  intros positive. revert f. induction n as [|n IH]; intros f small; [reflexivity|].
  cbn [unpack]. rewrite packed_value_first by lia.
  rewrite lowest_correct by (try apply small; lia).
  rewrite Z.shiftr_div_pow2 by lia.
  replace (f O + 2 ^ w * packed_value w n (fun j => f (S j)) - f O)
    with (packed_value w n (fun j => f (S j)) * 2 ^ w) by ring.
  rewrite Z.div_mul by (apply Z.pow_nonzero; lia).
  rewrite IH by (intros j below; apply small; lia).
  simpl. f_equal. rewrite <- seq_shift, map_map. reflexivity.
Qed.

(** ** Combinations of rows *)

Record packed := Packed { start : nat; stop : nat; digits : Z }.

Definition packed_of (w : Z) (r : row) : packed := Packed (first r) (first r + length (entries r)) (pack w (entries r)).

(** sum_k a_k (r_k)_j. *)
Fixpoint mix (a : list Z) (b : list row) (j : nat) : Z :=
  match a, b with
  | v :: a', r :: b' => v * coef r j + mix a' b' j
  | _, _ => 0
  end.

(** The first column and the last of all rows that count, [high] and [low] where there is none. *)
Fixpoint lowest_start (a : list Z) (p : list packed) (high : nat) : nat :=
  match a, p with
  | 0 :: a', _ :: p' => lowest_start a' p' high
  | _ :: a', q :: p' => Nat.min (start q) (lowest_start a' p' high)
  | _, _ => high
  end.

Fixpoint highest_stop (a : list Z) (p : list packed) : nat :=
  match a, p with
  | 0 :: a', _ :: p' => highest_stop a' p'
  | _ :: a', q :: p' => Nat.max (stop q) (highest_stop a' p')
  | _, _ => O
  end.

Fixpoint combined (w : Z) (base : nat) (a : list Z) (p : list packed) : Z :=
  match a, p with
  | 0 :: a', _ :: p' => combined w base a' p'
  | v :: a', q :: p' => v * Z.shiftl (digits q) (w * Z.of_nat (start q - base)) + combined w base a' p'
  | _, _ => 0
  end.

Definition combination (w : Z) (a : list Z) (p : list packed) : row :=
  let high := highest_stop a p in
  let base := lowest_start a p high in
  Row base (unpack w (high - base) (combined w base a p)).

Lemma lowest_start_high a p high : (lowest_start a p high <= high)%nat.
Proof.
  revert p. induction a as [|v a IH]; intros [|q p]; simpl; try lia; [destruct v; lia|].
  specialize (IH p). destruct v; lia.
Qed.

(** Outside of [low, high) every row that counts is zero. *)
Lemma mix_outside w a b j low high :
  (low <= lowest_start a (map (packed_of w) b) high)%nat -> (highest_stop a (map (packed_of w) b) <= high)%nat ->
  (j < low \/ high <= j)%nat -> mix a b j = 0.
Proof.
  revert b. induction a as [|v a IH]; intros [|r b] Hlow Hhigh outside; try reflexivity.
  assert (v = 0 \/ coef r j = 0) as none.
  { destruct v; [left; reflexivity | right | right]; simpl in Hlow, Hhigh;
      (destruct outside; [apply coef_before; lia | apply coef_after; lia]). }
  simpl. rewrite IH; [destruct none as [-> | ->]; ring | | | exact outside];
    destruct v; simpl in Hlow, Hhigh; lia.
Qed.

(** A packed row, moved to its place. *)
Lemma shifted w r base high :
  0 <= w -> (base <= first r)%nat -> (first r + length (entries r) <= high)%nat ->
  Z.shiftl (pack w (entries r)) (w * Z.of_nat (first r - base))
  = packed_value w (high - base) (fun j => coef r (base + j)).
Proof.
  intros nonneg below above. rewrite Z.shiftl_mul_pow2, pack_correct by (try apply Z.mul_nonneg_nonneg; lia).
  replace (high - base)%nat
    with ((first r - base) + (length (entries r) + (high - first r - length (entries r))))%nat by lia.
  rewrite packed_value_add, (packed_value_zero w (first r - base)) by (try exact nonneg; intros j small; apply coef_before; lia).
  rewrite packed_value_add, (packed_value_zero w (high - _ - _)) by
    (try exact nonneg; intros j _; apply coef_after; lia).
  rewrite (packed_value_ext w _ (fun j => coef r (base + (first r - base + j))) (fun j => nth j (entries r) 0)); [ring|].
  intros j _. rewrite <- coef_from. f_equal. lia.
Qed.

Lemma combined_correct w base high a b :
  0 <= w -> (base <= lowest_start a (map (packed_of w) b) high)%nat ->
  (highest_stop a (map (packed_of w) b) <= high)%nat ->
  combined w base a (map (packed_of w) b) = packed_value w (high - base) (fun j => mix a b (base + j)).
Proof.
  intros nonneg. revert b. induction a as [|v a IH]; intros b Hlow Hhigh.
  { symmetry. apply packed_value_zero; reflexivity. }
  destruct b as [|r b]; [symmetry; destruct v; apply packed_value_zero; reflexivity|].
  assert (packed_value w (high - base) (fun j => mix (v :: a) (r :: b) (base + j)%nat)
    = v * packed_value w (high - base) (fun j => coef r (base + j)%nat)
      + packed_value w (high - base) (fun j => mix a b (base + j)%nat)) as ->.
  { unfold packed_value. rewrite <- zsum_scal, <- zsum_plus. apply zsum_ext; intros j _. simpl. ring. }
  destruct v as [|v|v]; simpl in Hlow, Hhigh; (rewrite <- IH by lia); [cbn [combined map]; ring | |];
    (cbn [combined map]; f_equal; f_equal; apply shifted; simpl; lia).
Qed.

Theorem combination_correct w a b j :
  1 <= w -> (forall i, Z.abs (mix a b i) < 2 ^ (w - 1)) ->
  coef (combination w a (map (packed_of w) b)) j = mix a b j.
Proof.
  intros positive small. unfold combination.
  set (high := highest_stop _ _). set (base := lowest_start _ _ high).
  assert (base <= high)%nat as order by apply lowest_start_high.
  rewrite combined_correct with (high := high) by (try apply Nat.le_refl; lia).
  rewrite unpack_correct by (try exact positive; intros i _; apply small).
  unfold coef. simpl. destruct (Nat.ltb_spec j base) as [before|from].
  - symmetry. apply (mix_outside w a b j base high); [apply Nat.le_refl | apply Nat.le_refl | left; exact before].
  - rewrite nth_map_seq. destruct (Nat.ltb_spec (j - base) (high - base)) as [inside|beyond].
    + f_equal. lia.
    + symmetry. apply (mix_outside w a b j base high); [apply Nat.le_refl | apply Nat.le_refl | right; lia].
Qed.
